/**
 * Takes the structure of published CustomResourceDefinitions into packages/api/crds: fields, types, defaults, validation, subresources, printer columns.
 * Descriptions are ours: those of the file that is there already are kept path by path, foreign ones are dropped. Messages of validation rules likewise.
 *
 *   node tools/import-crds.ts FILE.yaml…
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const target = join(import.meta.dirname, "..", "packages", "api", "crds");

/** Every text at `key`, by the path of its parent. */
function textsOf(node: Json, key: string, path = ""): Map<string, string> {
  const found = new Map<string, string>();
  if (node === null || typeof node !== "object") return found;
  for (const [name, child] of Object.entries(node)) {
    if (name === key && typeof child === "string") found.set(path, child);
    else for (const entry of textsOf(child, key, `${path}/${name}`)) found.set(...entry);
  }
  return found;
}

/** The node with each `description` and rule `message` replaced by ours, or left out. */
function withOurTexts(node: Json, descriptions: Map<string, string>, messages: Map<string, string>, path = ""): Json {
  if (Array.isArray(node)) return node.map((child, index) => withOurTexts(child, descriptions, messages, `${path}/${index}`));
  if (node === null || typeof node !== "object") return node;
  const out: { [key: string]: Json } = {};
  const description = descriptions.get(path);
  const message = messages.get(path);
  if (description !== undefined) out["description"] = description;
  for (const [key, child] of Object.entries(node)) {
    if ((key === "description" || (key === "message" && "rule" in node)) && typeof child === "string") continue;
    if (path === "/metadata" && key === "annotations") {
      // Approval and protection annotations are facts of the API; the generator's own version is not.
      const kept = Object.fromEntries(Object.entries(child as Record<string, string>).filter(([name]) => name.includes("api-approved")));
      if (Object.keys(kept).length > 0) out[key] = kept;
      continue;
    }
    out[key] = withOurTexts(child, descriptions, messages, `${path}/${key}`);
  }
  if (message !== undefined) out["message"] = message;
  return out;
}

mkdirSync(target, { recursive: true });
for (const file of process.argv.slice(2)) {
  const foreign = parse(readFileSync(file, "utf8")) as { [key: string]: Json };
  const spec = foreign["spec"] as { group: string; names: { plural: string } };
  const path = join(target, `${spec.group}_${spec.names.plural}.yaml`);
  const ours: Json = existsSync(path) ? (parse(readFileSync(path, "utf8")) as Json) : null;
  delete foreign["status"];
  writeFileSync(
    path,
    stringify(withOurTexts(foreign, textsOf(ours, "description"), textsOf(ours, "message")), { lineWidth: 160, aliasDuplicateObjects: false }),
  );
  process.stdout.write(`${path}\n`);
}
