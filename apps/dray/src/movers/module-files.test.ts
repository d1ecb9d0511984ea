import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { moduleFiles } from "./module-files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "module-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const given = (file: string) => moduleFiles(file, "tar", "velero");

it("takes the module and what it imports beside it, and leaves types and Node's own out", () => {
  const file = write(
    "mover.ts",
    'import { x } from "./format.ts";\nimport type { DataMover } from "@drayage/mover-sdk";\nimport { type A, type B } from "not-there";\nimport { readFileSync } from "node:fs";\nimport fs from "fs";\n' +
      'export * from "./more.mjs";\nconst late = await import("./late.ts");\n// import { y } from "somewhere";\nexport default {};\n',
  );
  write("format.ts", 'import {\n  late,\n} from "./late.ts";\n');
  write("more.mjs", 'import "./mover.ts";\n');
  write("late.ts", "");
  write("beside.ts", "");
  const { configMap, path } = given(file);
  expect(Object.keys(configMap.data ?? {}).sort()).toEqual(["format.ts", "late.ts", "more.mjs", "mover.ts"]);
  expect(configMap.metadata).toEqual({ namespace: "velero", name: "drayage-mover-tar" });
  expect(path).toBe("/mover/mover.ts");
});

it.each([
  ['import { z } from "zod";', /Cannot give mover "tar" to the cluster: mover\.ts imports "zod", which is a package/],
  ['import { z, type Y } from "zod";', /imports "zod", which is a package/],
  ['import "../other.ts";', /imports "\.\.\/other\.ts", which is in another folder/],
  ['import "./lib/other.ts";', /which is in another folder/],
  ['import "./missing.ts";', /missing\.ts" is not there/],
  [`//${"x".repeat(1 << 20)}`, /its files have 1048578 bytes, at most 921600/],
])("refuses what cannot be given along: %.40s", (text, message) => {
  expect(() => given(write("mover.ts", text))).toThrow(message);
});
