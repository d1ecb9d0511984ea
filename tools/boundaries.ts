/**
 * Checks the import table of docs/architecture.md: which package may import which, that what is imported is declared, that nobody reaches behind an `exports` map,
 * and that only tests import `testing` and `contract` entries. npm links every workspace at the root, so an undeclared sibling would resolve without a word.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** DESIGN section 3. `api:types` means type-only imports. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  kernels: ["base"],
  api: ["base"],
  blob: ["base"],
  protocols: ["base"],
  kube: ["base", "protocols"],
  "mover-sdk": ["base", "api"],
  repo: ["base", "blob", "kernels"],
  restic: ["base", "blob", "kernels"],
  datapath: ["base", "kernels", "repo", "restic"],
  archive: ["base", "api", "blob"],
  "plugin-host": ["base", "api", "protocols"],
  install: ["base", "api"],
  diskimage: ["base"],
  controllers: ["base", "api", "kube", "mover-sdk", "install"],
  movers: ["base", "api", "kube", "protocols", "mover-sdk", "blob", "repo", "restic", "datapath", "diskimage"],
  embedded: ["base", "api", "kube", "protocols"],
  web: ["api:types"],
};

const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

interface Workspace {
  readonly folder: string;
  /** `base`, or `dray` for the program. */
  readonly name: string;
  readonly declared: ReadonlySet<string>;
}

export function sourceFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|tsx|cts|mts)$/.test(entry.name) && !entry.parentPath.includes("node_modules"))
    .map((entry) => join(entry.parentPath, entry.name));
}

function workspaces(): Workspace[] {
  return ["packages", "apps"].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => {
      const folder = join(root, group, name);
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, Record<string, string> | undefined>;
      const declared = new Set([
        ...Object.keys(manifest["dependencies"] ?? {}),
        ...Object.keys(manifest["optionalDependencies"] ?? {}),
        ...Object.keys(manifest["peerDependencies"] ?? {}),
      ]);
      return { folder, name, declared };
    }),
  );
}

/** Every breach in one file, as `file: what` lines. */
export function breaches(file: string, text: string, workspace: Workspace, rootDeclared: ReadonlySet<string>): string[] {
  const found: string[] = [];
  const isTest = /\.test\.tsx?$/.test(file) || file.includes("/testing/") || file.includes("/contract/");
  const say = (what: string): void => void found.push(`${relative(root, file)}: ${what}`);
  for (const match of text.matchAll(IMPORT)) {
    const typeOnly = match[1] !== undefined;
    const specifier = match[2] ?? match[3] ?? "";
    if (specifier.startsWith(".")) {
      const target = resolve(dirname(file), specifier);
      if (!target.startsWith(`${workspace.folder}/`)) say(`imports "${specifier}", which leaves its package`);
      continue;
    }
    if (specifier.startsWith("node:") || builtinModules.includes(specifier)) continue;
    const parts = specifier.split("/");
    const name = specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] ?? "");
    if (name.startsWith("@drayage/")) {
      const other = name.slice("@drayage/".length);
      if (other !== workspace.name && workspace.name !== "dray") {
        const allowed = MAY_IMPORT[workspace.name] ?? [];
        if (!allowed.includes(other) && !(typeOnly && allowed.includes(`${other}:types`))) say(`imports "${name}", which ${workspace.name} may not`);
      }
      const entry = parts[2];
      if (!isTest && (entry === "testing" || (entry === "contract" && workspace.name !== "dray"))) say(`imports "${specifier}" outside a test`);
    }
    if (!workspace.declared.has(name) && !(isTest && rootDeclared.has(name)) && name !== `@drayage/${workspace.name}`)
      say(`imports "${name}", which its package.json does not declare`);
  }
  return found;
}

export function checkBoundaries(): string[] {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { devDependencies: Record<string, string> };
  const rootDeclared = new Set(Object.keys(manifest.devDependencies));
  return workspaces().flatMap((workspace) => {
    if (workspace.name !== "dray" && MAY_IMPORT[workspace.name] === undefined) return [`${relative(root, workspace.folder)}: is not in the import table`];
    return sourceFiles(workspace.folder).flatMap((file) => breaches(file, readFileSync(file, "utf8"), workspace, rootDeclared));
  });
}

if (import.meta.main) {
  const found = checkBoundaries();
  for (const line of found) process.stderr.write(`${line}\n`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
