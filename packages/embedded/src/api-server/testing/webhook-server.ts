/** A webhook for one test: what it was shown, and an answer that the test chooses. */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type RandomSource, systemClock, systemRandom } from "@drayage/base";
import { Authority } from "@drayage/protocols/x509";
import type { JsonObject } from "../json.ts";

export interface WebhookServer extends AsyncDisposable {
  readonly url: string;
  /** For `clientConfig.caBundle`. */
  readonly caBundle: string;
  /** The requests of the reviews so far. */
  readonly requests: JsonObject[];
  /** What is answered to the next ones; a number is a status code without an answer. */
  respond: (request: JsonObject) => JsonObject | number;
}

const DAY_MS = 86_400_000;

export async function startWebhookServer(hosts: readonly string[] = ["127.0.0.1"], random: RandomSource = systemRandom): Promise<WebhookServer> {
  const now = systemClock.nowMs();
  const validity = { fromMs: now - DAY_MS, untilMs: now + DAY_MS };
  const authority = await Authority.create(random, { subject: "CN=webhook-ca", ...validity });
  const pair = await authority.issue({ subject: "CN=webhook", hosts, ...validity });
  const requests: JsonObject[] = [];
  const server = createServer({ key: pair.keyPem, cert: pair.certificatePem }, (request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const review = JSON.parse(Buffer.concat(parts).toString("utf8")) as { request: JsonObject };
      requests.push(review.request);
      const answer = webhook.respond(review.request);
      if (typeof answer === "number") return void response.writeHead(answer).end("no answer");
      const body = { kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", response: { uid: review.request["uid"], ...answer } };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const webhook: WebhookServer = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caBundle: Buffer.from(authority.pem).toString("base64"),
    requests,
    respond: () => ({ allowed: true }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return webhook;
}
