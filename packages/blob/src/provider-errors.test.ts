/** What users meet at each provider, and the code and hint that it becomes. S3's own table is in s3/s3-errors.test.ts. */
import { describe, expect, it } from "vitest";
import { translateAzureError } from "./azure/azure-errors.ts";
import { bucketNotFound, gcsRefusal, translateGcsError } from "./gcs/gcs-errors.ts";
import { translateS3Error } from "./s3/s3-errors.ts";

const network = (code: string): Error => Object.assign(new Error(`failed: ${code}`), { code });
const TRANSLATIONS = { s3: translateS3Error, azure: translateAzureError, gcs: translateGcsError } as const;

describe.each(Object.entries(TRANSLATIONS))("an error on the way to %s", (_name, translate) => {
  it.each([
    ["ECONNREFUSED", "BLOB_UNAVAILABLE", "Nothing answers there"],
    ["ENOTFOUND", "BLOB_UNAVAILABLE", "DNS"],
    ["EAI_AGAIN", "BLOB_UNAVAILABLE", "DNS"],
    ["ETIMEDOUT", "BLOB_UNAVAILABLE", "Nothing answered in time"],
    ["UND_ERR_HEADERS_TIMEOUT", "BLOB_UNAVAILABLE", "Nothing answered in time"],
    ["ECONNRESET", "BLOB_UNAVAILABLE", undefined],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "BLOB_BAD_CONFIG", "caCert"],
    ["CERT_HAS_EXPIRED", "BLOB_BAD_CONFIG", "caCert"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "BLOB_BAD_CONFIG", "caCert"],
    ["EPROTO", "BLOB_BAD_CONFIG", "http:// against https://"],
  ])("%s is %s, and its hint says %s", (code, wanted, hint) => {
    const error = translate(network(code), "Cannot act");
    expect(error).toMatchObject({ code: wanted, message: `Cannot act: failed: ${code}` });
    if (hint !== undefined) expect(error.hint).toContain(hint);
    // Wrapped by a library, or one of several addresses.
    expect(translate(new Error("fetch failed", { cause: network(code) }), "Cannot act")).toMatchObject({ code: wanted });
    expect(translate(new AggregateError([network(code)]), "Cannot act")).toMatchObject({ code: wanted, message: expect.stringContaining(code) });
  });
});

describe("an error of Azure", () => {
  const rest = (code: string, statusCode?: number, message = "said so\nRequestId:1\nTime:now"): Error =>
    Object.assign(new Error(message), { name: "RestError", code, statusCode });

  it.each([
    ["BlobNotFound", 404, "BLOB_NOT_FOUND"],
    ["ContainerNotFound", 404, "BLOB_BUCKET_NOT_FOUND"],
    ["AuthorizationFailure", 403, "BLOB_ACCESS_DENIED"],
    ["KeyBasedAuthenticationNotPermitted", 403, "BLOB_ACCESS_DENIED"],
    ["BlobImmutableDueToPolicy", 409, "BLOB_ACCESS_DENIED"],
    ["BlobAlreadyExists", 409, "BLOB_ALREADY_EXISTS"],
    ["ConditionNotMet", 412, "BLOB_ALREADY_EXISTS"],
    ["InvalidRange", 416, "BLOB_INVALID_RANGE"],
    ["ServerBusy", 503, "BLOB_THROTTLED"],
    ["OperationTimedOut", 500, "BLOB_THROTTLED"],
    ["Unheard", 500, "BLOB_UNAVAILABLE"],
    ["Unheard", 400, "BLOB_BAD_CONFIG"],
    ["Unheard", 403, "BLOB_ACCESS_DENIED"],
    ["Unheard", undefined, "BLOB_UNAVAILABLE"],
  ])("%s with status %s is %s", (code, status, wanted) => {
    expect(translateAzureError(rest(code, status), "Cannot act")).toMatchObject({ code: wanted, message: `Cannot act: ${code}: said so` });
  });

  it("tells a wrong clock and an expired SAS from a wrong key", () => {
    const failed = (detail: string): Error => Object.assign(rest("AuthenticationFailed", 403), { details: { authenticationErrorDetail: detail } });
    expect(translateAzureError(failed("Request date header too old: 'Sat'"), "Cannot act").hint).toContain("clock");
    expect(translateAzureError(failed("Signature not valid in the specified time frame"), "Cannot act").hint).toContain("SAS is not valid now");
    expect(translateAzureError(failed("The MAC signature does not match"), "Cannot act").hint).toContain("Check the key");
  });
});

describe("an error of Google Cloud Storage", () => {
  const body = (reason: string, message = "said so"): string => JSON.stringify({ error: { message, errors: [{ reason }] } });

  it.each([
    [404, "notFound", "BLOB_NOT_FOUND"],
    [401, "authError", "BLOB_ACCESS_DENIED"],
    [403, "forbidden", "BLOB_ACCESS_DENIED"],
    [403, "rateLimitExceeded", "BLOB_THROTTLED"],
    [403, "retentionPolicyNotMet", "BLOB_ACCESS_DENIED"],
    [400, "userProjectMissing", "BLOB_BAD_CONFIG"],
    [412, "conditionNotMet", "BLOB_ALREADY_EXISTS"],
    [416, "requestedRangeNotSatisfiable", "BLOB_INVALID_RANGE"],
    [429, "rateLimitExceeded", "BLOB_THROTTLED"],
    [503, "backendError", "BLOB_UNAVAILABLE"],
    [500, "unheard", "BLOB_UNAVAILABLE"],
    [400, "unheard", "BLOB_BAD_CONFIG"],
  ])("of status %s and reason %s is %s", (status, reason, wanted) => {
    expect(translateGcsError(gcsRefusal(status, body(reason)), "Cannot act")).toMatchObject({ code: wanted, message: `Cannot act: ${reason}: said so` });
  });

  it("is read from whatever a proxy wrote, too", () => {
    expect(translateGcsError(gcsRefusal(502, "<html>Bad Gateway</html>"), "Cannot act")).toMatchObject({
      code: "BLOB_UNAVAILABLE",
      message: "Cannot act: HTTP status 502",
    });
    expect(translateGcsError(gcsRefusal(404, "Not Found"), "Cannot act")).toMatchObject({ code: "BLOB_NOT_FOUND", message: "Cannot act: Not Found" });
    for (const odd of ["null", "[]", '{"error":null}', '{"error":{"errors":[null]}}', "\0"])
      expect(translateGcsError(gcsRefusal(403, odd), "x"), odd).toMatchObject({ code: "BLOB_ACCESS_DENIED" });
  });

  it("of a request on the bucket means that there is no bucket", () => {
    expect(bucketNotFound(gcsRefusal(404, body("notFound")), "Cannot list")).toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    expect(translateGcsError(gcsRefusal(404, body("notFound", "The specified bucket does not exist.")), "x")).toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
  });

  it("of a token endpoint is one of the credentials, a clock among them", () => {
    const gaxios = (data: object, status = 400): Error =>
      Object.assign(new Error("invalid_grant"), { name: "GaxiosError", status, response: { status, data } });
    expect(translateGcsError(gaxios({ error: "invalid_grant" }), "x")).toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    const skewed = gaxios({
      error: "invalid_grant",
      error_description: "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe. Check your iat and exp values",
    });
    expect(translateGcsError(skewed, "x").hint).toContain("clock");
    expect(translateGcsError(gaxios({}, 503), "x")).toMatchObject({ code: "BLOB_UNAVAILABLE" });
    expect(translateGcsError(new Error("Could not load the default credentials."), "x")).toMatchObject({ code: "BLOB_ACCESS_DENIED" });
  });
});
