import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { conformance } from "@drayage/mover-sdk/conformance";
import { afterAll, expect, it } from "vitest";
import mover from "./tar-volume.ts";

const folder = mkdtempSync(join(tmpdir(), "tar-volume-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("the example of a volume mover passes the suite", async () => {
  const report = await conformance(mover, { folder });
  expect(report.filter(({ ok }) => !ok)).toEqual([]);
  expect(report).toHaveLength(12);
});
