/**
 * Writes the bundle for the Operator Lifecycle Manager into packages/install/olm. `--check` compares instead of writing.
 * A release gives its own image: node tools/olm-bundle.ts --image NAME
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { olmBundle } from "@drayage/install";
import { stringify } from "yaml";

const root = resolve(import.meta.dirname, "..");
const target = join(root, "packages", "install", "olm");
const { version } = JSON.parse(readFileSync(join(root, "packages", "install", "package.json"), "utf8")) as { version: string };
const imageAt = process.argv.indexOf("--image");
const image = imageAt < 0 ? `drayage/dray:${version}` : (process.argv[imageAt + 1] ?? "");

const files = new Map([...olmBundle({ version, image })].map(([path, object]) => [path, stringify(object, { lineWidth: 160, aliasDuplicateObjects: false })]));
const present = existsSync(target) ? readdirSync(target, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".yaml")) : [];
if (process.argv.includes("--check")) {
  const stale = [...new Set([...files.keys(), ...present])].filter(
    (path) => !existsSync(join(target, path)) || files.get(path) !== readFileSync(join(target, path), "utf8"),
  );
  for (const path of stale) process.stderr.write(`packages/install/olm/${path} is not what tools/olm-bundle.ts makes; run it\n`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  rmSync(target, { recursive: true, force: true });
  for (const [path, text] of files) {
    mkdirSync(dirname(join(target, path)), { recursive: true });
    writeFileSync(join(target, path), text);
  }
}
