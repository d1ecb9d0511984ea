/**
 * The token endpoints of the clouds on loopback, as much of them as their libraries ask for: what identities are tested against, since no test can have a real one.
 * Entra ID (discovery, client credentials), Azure's instance metadata and resource manager; Google's OAuth, STS, metadata server and IAM credentials;
 * AWS's STS (web identity) and the container endpoint of EKS pod identity.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface TokenRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface TokenEndpointOptions {
  /** PEM; without them the endpoint speaks plain HTTP. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** What access tokens say; a word when left out. */
  readonly token?: () => string;
  /** Answers in place of the endpoint's own: a refusal, for example. Undefined leaves the request to it. */
  readonly answer?: (request: TokenRequest) => { readonly status: number; readonly body: string } | undefined;
}

export interface TokenEndpoint {
  /** `https://127.0.0.1:port`. */
  readonly url: string;
  /** What was asked, oldest first. */
  readonly requests: readonly TokenRequest[];
  close(): Promise<void>;
}

export async function startTokenEndpoint(options: TokenEndpointOptions = {}): Promise<TokenEndpoint> {
  const requests: TokenRequest[] = [];
  let base = "";
  const token = options.token ?? (() => "the-token");
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const seen = { method: request.method ?? "", url: request.url ?? "", headers: request.headers, body: Buffer.concat(parts).toString() };
      requests.push(seen);
      const answer = options.answer?.(seen) ?? answerOf(seen, base, token());
      const type = answer.body.startsWith("<") ? "text/xml" : answer.body.startsWith("{") ? "application/json" : "text/plain";
      response.writeHead(answer.status, { "content-type": type, "metadata-flavor": "Google" }).end(answer.body);
    });
  };
  const server = options.tls === undefined ? createHttpServer(listener) : createHttpsServer({ cert: options.tls.certificate, key: options.tls.key }, listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: base,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const EXPIRATION = "2999-01-01T00:00:00Z";

function answerOf({ url, body }: TokenRequest, base: string, token: string): { readonly status: number; readonly body: string } {
  const json = (value: object): { status: number; body: string } => ({ status: 200, body: JSON.stringify(value) });
  const path = url.split("?")[0] ?? "";
  if (path.endsWith("/.well-known/openid-configuration")) {
    const tenant = path.split("/")[1] ?? "";
    return json({
      authorization_endpoint: `${base}/${tenant}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/${tenant}/oauth2/v2.0/token`,
      issuer: `${base}/${tenant}/v2.0`,
      jwks_uri: `${base}/${tenant}/keys`,
    });
  }
  if (path.endsWith("/listKeys")) return json({ keys: [{ keyName: "key1", value: "a2V5LW9mLXRoZS1hY2NvdW50", permissions: "FULL" }] });
  if (path.endsWith(":generateAccessToken")) return json({ accessToken: token, expireTime: EXPIRATION });
  if (path.endsWith(":signBlob")) return json({ keyId: "1", signedBlob: Buffer.from("signed by IAM").toString("base64") });
  if (path.endsWith("/service-accounts/default/email")) return { status: 200, body: "machine@project.example" };
  if (path.endsWith("/universe-domain")) return { status: 200, body: "googleapis.com" };
  if (path === "/v1/credentials") return json({ AccessKeyId: "ASIAPOD", SecretAccessKey: "pod-secret", Token: "pod-session", Expiration: EXPIRATION });
  if (body.includes("Action=AssumeRoleWithWebIdentity")) {
    return {
      status: 200,
      body: `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>web-secret</SecretAccessKey><SessionToken>web-session</SessionToken><Expiration>${EXPIRATION}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/x/y</Arn><AssumedRoleId>x:y</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
    };
  }
  if (/token/i.test(path)) {
    return json({
      access_token: token,
      token_type: "Bearer",
      issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
      expires_in: 3599,
      ext_expires_in: 3599,
      expires_on: "32472144000",
      resource: "x",
    });
  }
  return { status: 404, body: JSON.stringify({ error: "not_found" }) };
}
