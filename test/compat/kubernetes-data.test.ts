/** The tables of the built-in kinds are what the tool makes of a real API server today. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { startRealApiServer } from "./real-api-server.ts";

const root = resolve(import.meta.dirname, "../..");

it("tools/import-kubernetes-openapi.ts makes the tables that are committed", async () => {
  const real = await startRealApiServer();
  const out = mkdtempSync(join(tmpdir(), "drayage-tables-"));
  try {
    execFileSync(process.execPath, [join(root, "tools", "import-kubernetes-openapi.ts"), "--server", real.url, "--token", real.token, "--out", out]);
    for (const name of ["resources.json", "schemas.json"]) {
      const made = readFileSync(join(out, name), "utf8").split("\n");
      const committed = readFileSync(join(root, "packages/protocols/src/kubernetes/data", name), "utf8").split("\n");
      expect(made.filter((line) => !committed.includes(line))).toEqual([]);
      expect(committed.filter((line) => !made.includes(line))).toEqual([]);
    }
  } finally {
    rmSync(out, { recursive: true, force: true });
    await real.stop();
  }
});
