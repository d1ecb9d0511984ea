/**
 * Keeps the documentation true. Writes docs/errors.md from the table of codes, docs/cli.md from the table of commands, docs/providers.md from the tables of settings docs/velero-compatibility.md, docs/oadp-compatibility.md, docs/volsync-compatibility.md and docs/data-mover-compatibility.md from the tables of test/compat-fields, docs/movers.md from what movers publish, docs/generations.md from the scenarios of test/generations and docs/formats/compatibility.md from the table of what is tried against kopia (`--check` compares),
 * checks that relative links lead somewhere, and runs every TypeScript example:
 * a fenced block that starts with ```ts is type-checked and executed as a module of this repository.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { CODES } from "../packages/base/src/errors.ts";
import { cliPage } from "./cli-page.ts";
import { compatibilityPage } from "./compatibility-page.ts";
import { dataMoverCompatibilityPage, dataMoverFaults } from "./data-mover-compatibility.ts";
import { generationFaults, generationsPage } from "./generations.ts";
import { metricsPage } from "./metrics-page.ts";
import { moversPage } from "./movers-page.ts";
import { oadpCompatibilityPage, oadpFaults } from "./oadp-compatibility.ts";
import { providersPage } from "./providers-page.ts";
import { fieldFaults, veleroCompatibilityPage } from "./velero-compatibility.ts";
import { volSyncCompatibilityPage, volSyncFaults } from "./volsync-compatibility.ts";

const root = resolve(import.meta.dirname, "..");
const check = process.argv.includes("--check");
const problems: string[] = [];

const DISPOSITIONS: Readonly<Record<string, string>> = {
  retry: "passing trouble: tried again with backoff, within a budget",
  wait: "a human or another system must act first: tried again slowly, and said so",
  terminal: "trying again cannot help",
  bug: "a defect of Drayage: please report it",
};

function errorsPage(): string {
  const lines = [
    "# Error codes",
    "",
    "Written by `tools/docs.ts` from `packages/base/src/errors.ts`. Match on the code, never on the text.",
    "",
    "| disposition | what it means |",
    "|---|---|",
    ...Object.entries(DISPOSITIONS).map(([name, meaning]) => `| ${name} | ${meaning} |`),
    "",
    "| code | disposition |",
    "|---|---|",
    ...Object.entries(CODES).map(([code, disposition]) => `| \`${code}\` | ${disposition} |`),
    "",
  ];
  return lines.join("\n");
}

function writeOrCompare(path: string, text: string): void {
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) problems.push(`${relative(root, path)}: is not what tools/docs.ts writes; run it`);
}

function markdownFiles(): string[] {
  const below = (folder: string): string[] =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".md"))
          .map((name) => join(folder, name))
      : [];
  return [join(root, "README.md"), ...below(join(root, "docs")), ...below(join(root, "bench"))].filter((path) => existsSync(path));
}

function checkLinks(path: string, text: string): void {
  for (const match of text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
    const target = match[1] ?? "";
    if (/^[a-z]+:/.test(target)) continue;
    if (!existsSync(resolve(dirname(path), target))) problems.push(`${relative(root, path)}: links to ${target}, which is not there`);
  }
}

/** Examples run from a folder inside the repository, so that they import packages as its own code does. */
function runExamples(path: string, text: string): void {
  const folder = join(root, "apps", "dray", ".docs-examples");
  let index = 0;
  for (const match of text.matchAll(/```ts\n([\s\S]*?)```/g)) {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `example-${++index}.ts`);
    writeFileSync(file, match[1] ?? "");
    const { status, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 60_000 });
    if (status !== 0) problems.push(`${relative(root, path)}: example ${index} fails: ${stderr.trim().split("\n").slice(-6).join(" | ")}`);
  }
  rmSync(folder, { recursive: true, force: true });
}

writeOrCompare(join(root, "docs", "errors.md"), errorsPage());
writeOrCompare(join(root, "docs", "cli.md"), await cliPage());
writeOrCompare(join(root, "docs", "velero-compatibility.md"), veleroCompatibilityPage());
problems.push(...fieldFaults());
writeOrCompare(join(root, "docs", "oadp-compatibility.md"), oadpCompatibilityPage());
problems.push(...oadpFaults());
writeOrCompare(join(root, "docs", "volsync-compatibility.md"), volSyncCompatibilityPage());
problems.push(...volSyncFaults());
writeOrCompare(join(root, "docs", "data-mover-compatibility.md"), dataMoverCompatibilityPage());
problems.push(...dataMoverFaults());
writeOrCompare(join(root, "docs", "generations.md"), generationsPage());
problems.push(...generationFaults());
writeOrCompare(join(root, "docs", "providers.md"), providersPage());
writeOrCompare(join(root, "docs", "monitoring", "metrics.md"), metricsPage());
writeOrCompare(join(root, "docs", "movers.md"), moversPage());
writeOrCompare(join(root, "docs", "formats", "compatibility.md"), await compatibilityPage());
for (const path of markdownFiles()) {
  const text = readFileSync(path, "utf8");
  checkLinks(path, text);
  runExamples(path, text);
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
