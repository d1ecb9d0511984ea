import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { compatSuites } from "./compat-suites.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "compat-suites-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("a suite needs what it names itself and what the files it imports name", () => {
  mkdirSync(join(folder, "more"));
  writeFileSync(join(folder, "client.ts"), 'import { other } from "./other.ts";\nrun(peer("kopia"));');
  writeFileSync(
    join(folder, "other.ts"),
    'import { client } from "./client.ts";\nawait startPeer(\n  "etcd", [], ready); startPeerDaemon(folder, "kubelet", []);',
  );
  writeFileSync(join(folder, "a.test.ts"), 'import { client } from "./client.ts";\nimport { x } from "vitest";');
  writeFileSync(join(folder, "more", "b.test.ts"), "await startAzurite([port], ready);");
  expect(compatSuites(folder)).toEqual([
    { path: join(folder, "a.test.ts"), needs: ["etcd", "kopia", "kubelet"] },
    { path: join(folder, "more", "b.test.ts"), needs: ["azurite"] },
  ]);
});

test("each suite of this repository needs a program: one that needs none belongs to another project", () => {
  const suites = compatSuites(resolve(import.meta.dirname, "..", "test", "compat"));
  expect(suites.length).toBeGreaterThan(10);
  expect(suites.filter((suite) => suite.needs.length === 0).map((suite) => suite.path)).toEqual([]);
});
