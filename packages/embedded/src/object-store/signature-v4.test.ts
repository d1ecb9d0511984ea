import { VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { decodeAwsChunked } from "./aws-chunked.ts";
import { type SignedRequest, verifyRequest } from "./signature-v4.ts";

// The worked examples of the API reference of Amazon S3, "Signature Calculations for the Authorization Header" and "… Using Query Parameters".
const credentials = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const clock = new VirtualClock(Date.UTC(2013, 4, 24));
const authorization = (headers: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=${headers},Signature=${signature}`;

const getExample: SignedRequest = {
  method: "GET",
  path: "/test.txt",
  query: [],
  headers: {
    host: "examplebucket.s3.amazonaws.com",
    range: "bytes=0-9",
    "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-amz-date": "20130524T000000Z",
    authorization: authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
  },
};

const listExample: SignedRequest = {
  method: "GET",
  path: "/",
  query: [
    ["max-keys", "2"],
    ["prefix", "J"],
  ],
  headers: {
    host: "examplebucket.s3.amazonaws.com",
    "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-amz-date": "20130524T000000Z",
    authorization: authorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
  },
};

const presignedExample: SignedRequest = {
  method: "GET",
  path: "/test.txt",
  query: [
    ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
    ["X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"],
    ["X-Amz-Date", "20130524T000000Z"],
    ["X-Amz-Expires", "86400"],
    ["X-Amz-SignedHeaders", "host"],
    ["X-Amz-Signature", "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"],
  ],
  headers: { host: "examplebucket.s3.amazonaws.com" },
};

const chunkedExample: SignedRequest = {
  method: "PUT",
  path: "/examplebucket/chunkObject.txt",
  query: [],
  headers: {
    host: "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
    "content-length": "66824",
    authorization: authorization(
      "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
      "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
  },
};

const CHUNKS: readonly (readonly [data: string, signature: string])[] = [
  ["a".repeat(65_536), "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"],
  ["a".repeat(1024), "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"],
  ["", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"],
];
const framed = (chunks = CHUNKS): string =>
  chunks.map(([data, signature]) => `${data.length.toString(16)};chunk-signature=${signature}\r\n${data}\r\n`).join("");

async function* pieces(text: string, length: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < text.length; at += length) {
    await Promise.resolve();
    yield Buffer.from(text.slice(at, at + length), "latin1");
  }
}

async function decoded(text: string, pieceLength: number): Promise<string> {
  const rule = verifyRequest(chunkedExample, credentials, clock);
  if (rule.kind !== "chunked") throw new Error("a chunked body was expected");
  const parts: Uint8Array[] = [];
  for await (const part of decodeAwsChunked(pieces(text, pieceLength), { signer: rule.signed, trailer: rule.trailer, onTrailer: () => undefined }))
    parts.push(part);
  return Buffer.concat(parts).toString("latin1");
}

describe("verifyRequest()", () => {
  it.each([
    ["a read", getExample],
    ["a listing", listExample],
    ["a signed address", presignedExample],
    ["a chunked write", chunkedExample],
  ])("accepts the published example of %s", (_what, request) => {
    expect(() => verifyRequest(request, credentials, clock)).not.toThrow();
  });

  it("refuses the same with anything signed changed", () => {
    const changed: SignedRequest[] = [
      { ...getExample, method: "DELETE" },
      { ...getExample, path: "/test2.txt" },
      { ...getExample, query: [["versionId", "1"]] },
      { ...getExample, headers: { ...getExample.headers, range: "bytes=0-10" } },
      { ...presignedExample, query: presignedExample.query.map(([name, value]) => [name, name === "X-Amz-Expires" ? "86401" : value] as const) },
    ];
    for (const request of changed) expect(() => verifyRequest(request, credentials, clock)).toThrow(expect.objectContaining({ code: "SignatureDoesNotMatch" }));
  });

  it("refuses what is too old, malformed or unsigned", () => {
    const at = (ms: number) => new VirtualClock(clock.nowMs() + ms);
    expect(() => verifyRequest(getExample, credentials, at(16 * 60_000))).toThrow(expect.objectContaining({ code: "RequestTimeTooSkewed" }));
    expect(() => verifyRequest(presignedExample, credentials, at(86_401_000))).toThrow(
      expect.objectContaining({ code: "AccessDenied", message: "Request has expired" }),
    );
    expect(() => verifyRequest(presignedExample, credentials, at(-16 * 60_000))).toThrow(expect.objectContaining({ code: "AccessDenied" }));
    const withHeader = (value: string | undefined): SignedRequest => {
      const { authorization: _old, ...headers } = getExample.headers;
      return { ...getExample, headers: value === undefined ? headers : { ...headers, authorization: value } };
    };
    expect(() => verifyRequest(withHeader(undefined), credentials, clock)).toThrow(expect.objectContaining({ code: "AccessDenied" }));
    for (const header of ["", "AWS key:sig", "AWS4-HMAC-SHA256 Credential=x,SignedHeaders=host,Signature=00"]) {
      expect(() => verifyRequest(withHeader(header), credentials, clock)).toThrow(expect.objectContaining({ code: "AuthorizationHeaderMalformed" }));
    }
  });
});

describe("decodeAwsChunked()", () => {
  it.each([1, 7, 1000, 100_000])("gives the data of the published example, arriving in pieces of %d", async (length) => {
    expect(await decoded(framed(), length)).toBe("a".repeat(66_560));
  });

  it("refuses a chunk that was changed, put in another place, or left out", async () => {
    const [first, second, last] = CHUNKS;
    if (first === undefined || second === undefined || last === undefined) throw new Error("three chunks were expected");
    for (const chunks of [
      [[`b${"a".repeat(65_535)}`, first[1]] as const, second, last],
      [second, first, last],
      [first, last],
    ]) {
      await expect(decoded(framed(chunks), 5000)).rejects.toMatchObject({ code: "SignatureDoesNotMatch" });
    }
  });

  it("refuses every body that ends too early", async () => {
    const whole = framed();
    for (const length of [0, 1, 3, 50, 90, 1000, 65_700, whole.length - 90, whole.length - 5]) {
      await expect(decoded(whole.slice(0, length), 4096), String(length)).rejects.toMatchObject({ code: "IncompleteBody" });
    }
  });

  it("refuses what is no frame", async () => {
    for (const text of ["zz\r\n", "-1\r\n", "ffffffffffffffff\r\n", "5\nhello", "x".repeat(10_000)])
      await expect(decoded(text, 100)).rejects.toMatchObject({ name: "S3Error" });
  });
});
