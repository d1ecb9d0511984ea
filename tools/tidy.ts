/**
 * The house's own rules as a test: banned calls, leftovers, names, files nobody should commit, and the length of functions as a ratchet
 * (tools/tidy-ratchet.json holds the ones that are too long today; a new one fails, an old one may only shrink).
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const ratchetPath = join(root, "tools", "tidy-ratchet.json");
const FUNCTION_LINES_MAX = 90;

interface Ban {
  readonly pattern: RegExp;
  readonly why: string;
  /** Files that may, by the end of their path. */
  readonly except?: readonly string[];
}

const BANS: readonly Ban[] = [
  { pattern: /\bDate\.now\(|\bnew Date\(\)/, why: "time is injected: use Clock", except: ["packages/base/src/clock.ts"] },
  { pattern: /\bMath\.random\(/, why: "randomness is injected: use RandomSource" },
  { pattern: /\bconsole\.\w+\(/, why: "output goes through Logger or the terminal port" },
  { pattern: /\bBuffer\.allocUnsafe\(/, why: "pooled memory leaks other data: use new Uint8Array or a buffer that is wholly overwritten by allocUnsafeSlow" },
  { pattern: /\bprocess\.exit\(/, why: "set process.exitCode, so that output is flushed", except: ["apps/dray/src/main.ts"] },
  { pattern: /@ts-ignore|@ts-nocheck/, why: "type checks are not switched off" },
];
const BANS_EVERYWHERE: readonly Ban[] = [
  { pattern: /\b(TODO|FIXME|XXX|HACK)\b/, why: "unfinished work is an issue, not a comment" },
  { pattern: /\b(it|test|describe)\.(skip|only|todo)\(/, why: "a test that does not run is a defect" },
  { pattern: /expect\(true\)/, why: "a test that cannot fail is a defect" },
];
const NAMES_BANNED = /(^|\/)(utils?|helpers?|common|misc|manager)\.ts$/;
const LINT_DISABLE = /(biome-ignore|oxlint-disable|@ts-expect-error)(?![^\n]*(:|--) *\S)/;
// Assembled from parts, so that this file does not match itself.
const TEXT_BANS: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: new RegExp(["registry", "npmjs", "org"].join("\\.")), why: "no registry addresses" },
  { pattern: new RegExp(`(?<![\\w$.{])/(${["root", "home/\\w+", "work"].join("|")})/(main|shared|go|\\.cache)`), why: "no paths of one machine" },
];

function trackedFiles(): string[] {
  const out = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8", maxBuffer: 64 << 20 });
  return out.split("\n").filter((path) => path !== "" && existsSync(join(root, path)));
}

/** Lines of every function, method and arrow body that is longer than the limit, by `file:name`. Brace counting on formatted code: exact enough for a ratchet. */
export function longFunctions(path: string, text: string): Map<string, number> {
  const found = new Map<string, number>();
  const lines = text.split("\n");
  const open =
    /^(\s*)(?:export )?(?:default )?(?:async )?(?:function\*? (\w+)|(?:(?:static|private|override|async|get|set) )*\*?(#?\w+)\(.*\).*\{$|(?:const|let) (\w+)(?::.*)? = (?:async )?\(.*=> \{$)/;
  lines.forEach((line, start) => {
    const match = open.exec(line);
    const name = match?.[2] ?? match?.[3] ?? match?.[4];
    if (match === null || name === undefined || ["if", "for", "while", "switch", "catch", "describe", "it", "test"].includes(name)) return;
    const end = lines.findIndex((other, index) => index > start && (other === `${match[1]}}` || other === `${match[1]}};` || other === `${match[1]}},`));
    const length = end - start + 1;
    if (end > start && length > FUNCTION_LINES_MAX) found.set(`${path}:${name}`, length);
  });
  return found;
}

export function tidy(update = false): string[] {
  const problems: string[] = [];
  const ratchet = existsSync(ratchetPath) ? (JSON.parse(readFileSync(ratchetPath, "utf8")) as Record<string, number>) : {};
  const long = new Map<string, number>();
  for (const path of trackedFiles()) {
    if (/\.(png|gz|tar|node|wasm|bin|f)$/.test(path) || path.startsWith("test/fixtures/") || path.endsWith("package-lock.json")) continue;
    const text = readFileSync(join(root, path), "utf8");
    const isCode = /\.(ts|tsx|cts|mts|cjs)$/.test(path);
    const report = (line: number, why: string): void => void problems.push(`${path}:${line}: ${why}`);
    if (NAMES_BANNED.test(path)) report(1, "the name does not say what the file keeps");
    const isTool = path.startsWith("tools/") || path.startsWith("bench/");
    const bans = [...(isCode && path.startsWith("packages/") && !path.includes(".test.") ? BANS : []), ...(isCode && !isTool ? BANS_EVERYWHERE : [])].filter(
      (ban) => !(ban.except ?? []).some((end) => path.endsWith(end)),
    );
    text.split("\n").forEach((line, index) => {
      for (const ban of bans) if (ban.pattern.test(line)) report(index + 1, ban.why);
      for (const ban of TEXT_BANS) if (ban.pattern.test(line)) report(index + 1, ban.why);
      if (isCode && !isTool && LINT_DISABLE.test(line)) report(index + 1, "a check is switched off without a reason");
    });
    if (isCode && !path.includes(".test.") && !path.includes("/generated/")) for (const entry of longFunctions(path, text)) long.set(...entry);
  }
  for (const [name, length] of long) {
    const allowed = ratchet[name];
    if (allowed === undefined) problems.push(`${name} has ${length} lines; more than ${FUNCTION_LINES_MAX} is too long`);
    else if (length > allowed) problems.push(`${name} grew from ${allowed} to ${length} lines`);
  }
  if (update) writeFileSync(ratchetPath, `${JSON.stringify(Object.fromEntries([...long].sort(([a], [b]) => (a < b ? -1 : 1))), null, 2)}\n`);
  return problems;
}

if (import.meta.main) {
  const problems = tidy(process.argv.includes("--update"));
  for (const line of problems) process.stderr.write(`${line}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
