/** The same requests to a real kube-apiserver and to ours: status and body must agree, but for what is new in every run. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ApiServer, startApiServer } from "@drayage/embedded/api-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startWebhookServer, type WebhookServer } from "../../packages/embedded/src/api-server/testing/webhook-server.ts";
import { type ConformanceCase, conformanceCases } from "./api-conformance-cases.ts";
import { type Answer, exchange, type JsonObject, stable, type Target } from "./api-exchange.ts";
import { verdictOf, webhookCases } from "./api-webhook-cases.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

let real: RealApiServer;
let ours: ApiServer;
let folder: string;
let hook: WebhookServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-conformance-"));
  ours = await startApiServer({ directory: folder, clock: systemClock, random: systemRandom, logger: nullLogger });
  real = await startRealApiServer();
  hook = await startWebhookServer();
  hook.respond = (request) => verdictOf(request as JsonObject);
});

afterAll(async () => {
  await real?.stop();
  await ours?.close();
  await hook?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function run(target: Target, requests: (typeof conformanceCases)[number]["requests"]): Promise<{ request: string; answer: unknown }[]> {
  const answers: Answer[] = [];
  const seen: { request: string; answer: unknown }[] = [];
  for (const it of requests) {
    const wanted = typeof it === "function" ? it(answers) : it;
    const answer = await exchange(target, wanted);
    answers.push(answer);
    seen.push({
      request: `${wanted.method} ${stable(wanted.path.replace(/(continue|resourceVersion)=[\w-]+/, "$1=…")) as string}`,
      answer: { code: answer.code, warning: answer.warning, body: stable(answer.body) },
    });
  }
  return seen;
}

async function compare({ requests }: ConformanceCase): Promise<void> {
  const expected = await run(real, requests);
  const actual = await run({ url: ours.url, token: ours.adminToken }, requests);
  expect(actual).toEqual(expected);
}

describe("our API server answers as the real one", () => {
  for (const one of conformanceCases) it(one.name, () => compare(one));

  it("where webhooks judge what is written", async () => {
    for (const one of webhookCases(hook)) await compare(one);
  });
});
