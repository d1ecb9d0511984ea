/**
 * Takes the structure of published definitions into packages/protocols: names, numbers and types. Comments and options, which are text of others, stay behind.
 *
 *   node tools/import-csi.ts csi.proto            writes the data
 *   node tools/import-csi.ts --check csi.proto    fails when the data differ
 *   node tools/import-csi.ts [--check] --registration api.proto
 *
 * The first is file `csi.proto` of the Go module github.com/container-storage-interface/spec, v1.12.0; it goes into src/csi/data. The other, by which a plug-in makes itself
 * known to a kubelet, is `pkg/apis/pluginregistration/v1/api.proto` of k8s.io/kubelet, v0.34.4; it goes into src/kubelet/data.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import protobuf from "protobufjs";

const protocols = join(import.meta.dirname, "..", "packages", "protocols", "src");

/** Google's own types that the definition uses; protobufjs carries them. */
const WELL_KNOWN = ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"] as const;

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Structure only: no options, no comments, no extensions (they extend google.protobuf.*Options, which nothing here needs at run time). */
export function withoutOptions(node: Json): Json {
  if (node === null || typeof node !== "object" || Array.isArray(node)) return node;
  const out: { [key: string]: Json } = {};
  for (const [key, child] of Object.entries(node)) {
    const isExtension = child !== null && typeof child === "object" && "extend" in child;
    if (key === "options" || key === "parsedOptions" || key === "valuesOptions" || key === "comment" || isExtension) continue;
    out[key] = withoutOptions(child);
  }
  return out;
}

/** The data of a definition, in the form that proto-loader's `fromJSON` takes. */
export function csiData(proto: string, wellKnown: readonly string[] = WELL_KNOWN): string {
  const root = new protobuf.Root();
  for (const name of wellKnown) root.addJSON(protobuf.common.get(name)?.nested ?? {});
  protobuf.parse(proto, root, { keepCase: false });
  return `${JSON.stringify(withoutOptions(root.toJSON() as Json))}\n`;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { check: { type: "boolean" }, registration: { type: "boolean" } }, allowPositionals: true });
  const [file] = positionals;
  if (file === undefined) {
    process.stderr.write("usage: node tools/import-csi.ts [--check] [--registration] FILE.proto\n");
    process.exitCode = 2;
  } else {
    const target = values.registration === true ? join(protocols, "kubelet", "data", "registration.json") : join(protocols, "csi", "data", "csi.json");
    const data = csiData(readFileSync(file, "utf8"), values.registration === true ? [] : WELL_KNOWN);
    if (values.check !== true) writeFileSync(target, data);
    else if (readFileSync(target, "utf8") !== data) {
      process.stderr.write(`${target} differs from what ${file} gives\n`);
      process.exitCode = 1;
    }
  }
}
