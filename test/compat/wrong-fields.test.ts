/** Every field of every spec of Velero's kinds, of OADP's and of ours wrong in turn: a real kube-apiserver refuses each by its path, and ours says the same. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadCrds } from "@drayage/api";
import { mapLimit, nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ApiServer, startApiServer } from "@drayage/embedded/api-server";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type WrongField, wrongFields } from "../e2e/wrong-fields.ts";
import { exchange, type Target } from "./api-exchange.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const AT_ONCE = 8;
const WAIT_MS = 60_000;

let real: RealApiServer;
let ours: ApiServer;
let folder: string;
let targets: { readonly real: Target; readonly ours: Target };

const GROUPS = ["velero.io", "oadp.openshift.io", "drayage.io"];
const crds = loadCrds(...GROUPS);
const kinds = crds.map(({ spec }) => ({
  kind: spec.names.kind,
  group: spec.group,
  version: `${spec.group}/${(spec["versions"] as { readonly name: string }[])[0]?.name ?? ""}`,
  collection: `${spec["scope"] === "Namespaced" ? "namespaces/default/" : ""}${spec.names.plural}`,
}));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-wrong-fields-"));
  ours = await startApiServer({ directory: folder, clock: systemClock, random: systemRandom, logger: nullLogger });
  real = await startRealApiServer();
  targets = { real, ours: { url: ours.url, token: ours.adminToken } };
  for (const target of Object.values(targets)) {
    for (const crd of crds) await exchange(target, { method: "POST", path: CRDS, body: crd as never });
    for (const { version, collection } of kinds) await untilServed(target, `/apis/${version}/${collection}`);
  }
});

afterAll(async () => {
  await real?.stop();
  await ours?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function untilServed(target: Target, path: string): Promise<void> {
  const endMs = systemClock.monotonicMs() + WAIT_MS;
  while ((await exchange(target, { method: "GET", path })).code !== 200) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`${path} is not served`);
    await systemClock.sleep(50);
  }
}

it.each(kinds)("$kind", async ({ kind, group, version, collection }) => {
  const fields = wrongFields(kind, group);
  const refusals = async (target: Target): Promise<string[]> =>
    mapLimit(fields, AT_ONCE, async ({ path, spec }: WrongField) => {
      const body = { apiVersion: version, kind, metadata: { name: "wrong" }, spec };
      const answer = await exchange(target, { method: "POST", path: `/apis/${version}/${collection}`, body: body as never });
      const { causes = [] } = (answer.body as { details?: { causes?: { field: string; message: string }[] } }).details ?? {};
      const about = causes.filter(({ field }) => field === path).map(({ message }) => message);
      return `${path}: ${answer.code} ${about.join("; ")}`;
    });
  const expected = await refusals(targets.real);
  expect(expected.filter((line) => !/: 422 ./.test(line))).toEqual([]);
  expect(await refusals(targets.ours)).toEqual(expected);
});
