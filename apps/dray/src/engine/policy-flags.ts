/** The flags of `dray policy set`, by Kopia's names, and what each changes. `inherit` takes a setting away, so that the policy above decides again. */
import { DrayError } from "@drayage/base";
import { COMPRESSOR_NAMES, SPLITTERS } from "@drayage/kernels";
import { type PolicyDocument, valueAt, withValue } from "@drayage/repo";
import type { Command } from "commander";
import { gather } from "./values.ts";

interface Flag {
  readonly name: string;
  readonly at: string;
  readonly kind: "count" | "bytes" | "mib" | "flag" | "compressor" | "splitter";
  readonly about: string;
}

const FLAGS: readonly Flag[] = [
  { name: "keep-latest", at: "retention.keepLatest", kind: "count", about: "how many of the newest snapshots are kept" },
  { name: "keep-hourly", at: "retention.keepHourly", kind: "count", about: "for how many hours one is kept" },
  { name: "keep-daily", at: "retention.keepDaily", kind: "count", about: "for how many days one is kept" },
  { name: "keep-weekly", at: "retention.keepWeekly", kind: "count", about: "for how many weeks one is kept" },
  { name: "keep-monthly", at: "retention.keepMonthly", kind: "count", about: "for how many months one is kept" },
  { name: "keep-annual", at: "retention.keepAnnual", kind: "count", about: "for how many years one is kept" },
  { name: "ignore-identical-snapshots", at: "retention.ignoreIdenticalSnapshots", kind: "flag", about: "save none that equals the one before" },
  { name: "max-file-size", at: "files.maxFileSize", kind: "bytes", about: "leave out files that are larger" },
  { name: "one-file-system", at: "files.oneFileSystem", kind: "flag", about: "stay on the file system of the root" },
  { name: "ignore-cache-dirs", at: "files.ignoreCacheDirs", kind: "flag", about: "leave out what lies beside a CACHEDIR.TAG" },
  { name: "ignore-file-errors", at: "errorHandling.ignoreFileErrors", kind: "flag", about: "files that cannot be read are no errors" },
  { name: "ignore-dir-errors", at: "errorHandling.ignoreDirectoryErrors", kind: "flag", about: "directories that cannot be read are no errors" },
  { name: "ignore-unknown-types", at: "errorHandling.ignoreUnknownTypes", kind: "flag", about: "entries of a kind that cannot be stored are no errors" },
  { name: "compression", at: "compression.compressorName", kind: "compressor", about: "compressor of files" },
  { name: "compression-min-size", at: "compression.minSize", kind: "bytes", about: "leave smaller files as they are" },
  { name: "compression-max-size", at: "compression.maxSize", kind: "bytes", about: "leave larger files as they are" },
  { name: "metadata-compression", at: "metadataCompression.compressorName", kind: "compressor", about: "compressor of directory listings" },
  { name: "splitter", at: "splitter.algorithm", kind: "splitter", about: "how files are cut" },
  { name: "max-parallel-file-reads", at: "upload.maxParallelFileReads", kind: "count", about: "files read side by side" },
  { name: "max-parallel-snapshots", at: "upload.maxParallelSnapshots", kind: "count", about: "snapshots made side by side (kopia's server)" },
  { name: "parallel-upload-above-size-mib", at: "upload.parallelUploadAboveSize", kind: "mib", about: "cut the parts of larger files by themselves" },
];

/** Lists, each with three flags: `--add-ignore`, `--remove-ignore`, `--clear-ignore`. */
const LISTS: readonly { readonly name: string; readonly at: string; readonly about: string }[] = [
  { name: "ignore", at: "files.ignore", about: "what is left out, in the grammar of .kopiaignore" },
  { name: "dot-ignore", at: "files.ignoreDotFiles", about: "the names of ignore files" },
  { name: "only-compress", at: "compression.onlyCompress", about: "extensions that are compressed in any case" },
  { name: "never-compress", at: "compression.neverCompress", about: "extensions that are never compressed" },
];

export type PolicyFlagValues = Readonly<Record<string, unknown>>;

export function withPolicyFlags(command: Command): Command {
  for (const { name, about, kind } of FLAGS) command.option(`--${name} <${ARGUMENT[kind]}>`, `${about}; or inherit`);
  for (const { name, about } of LISTS) {
    command.option(`--add-${name} <text>`, `add to ${about}; may be repeated`, gather);
    command.option(`--remove-${name} <text>`, `take away from ${about}; may be repeated`, gather);
    command.option(`--clear-${name}`, `empty the list of ${about}`);
  }
  return command.option("--manual", "only make snapshots by hand (kopia's server)").option("--inherit <true|false>", "whether the policies above have a say");
}

const ARGUMENT: Readonly<Record<Flag["kind"], string>> = { count: "N", bytes: "bytes", mib: "MiB", flag: "true|false", compressor: "name", splitter: "name" };

/** The policy with the flags' changes. Throws USAGE for a value that cannot be, or when nothing is to be changed. */
export function changePolicy(before: PolicyDocument, values: PolicyFlagValues): PolicyDocument {
  let document = before;
  let changes = 0;
  const given = (name: string): unknown => values[camelCase(name)];
  for (const flag of FLAGS) {
    const text = given(flag.name);
    if (typeof text !== "string") continue;
    document = withValue(document, flag.at.split("."), text === "inherit" || text === "default" ? undefined : PARSERS[flag.kind](`--${flag.name}`, text));
    changes++;
  }
  for (const { name, at } of LISTS) {
    const added = (given(`add-${name}`) ?? []) as readonly string[];
    const removed = (given(`remove-${name}`) ?? []) as readonly string[];
    const cleared = given(`clear-${name}`) === true;
    if (!cleared && added.length + removed.length === 0) continue;
    const items = new Set([...(cleared ? [] : ((valueAt(document, at.split(".")) ?? []) as readonly string[])), ...added]);
    for (const item of removed) items.delete(item);
    document = withValue(document, at.split("."), items.size === 0 ? undefined : [...items].sort());
    changes++;
  }
  if (given("manual") === true) {
    document = withValue(document, ["scheduling", "manual"], true);
    changes++;
  }
  const inherit = given("inherit");
  if (typeof inherit === "string") {
    document = withValue(document, ["noParent"], parseFlag("--inherit", inherit) ? undefined : true);
    changes++;
  }
  if (changes === 0)
    throw new DrayError("USAGE", "Cannot set a policy: no flag says what to change", { hint: "For example: --keep-latest 7, or --add-ignore '*.tmp'." });
  return document;
}

const PARSERS: Readonly<Record<Flag["kind"], (option: string, text: string) => unknown>> = {
  count: (option, text) => parseWhole(option, text, 2 ** 31 - 1),
  bytes: (option, text) => parseWhole(option, text, Number.MAX_SAFE_INTEGER),
  mib: (option, text) => parseWhole(option, text, 2 ** 31 - 1) * 2 ** 20,
  flag: parseFlag,
  compressor: (option, text) => parseName(option, text, ["none", ...COMPRESSOR_NAMES]),
  splitter: (option, text) => parseName(option, text, SPLITTERS),
};

function parseWhole(option: string, text: string, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw new DrayError("USAGE", `Cannot read ${option} "${text}": a whole number up to ${max}, or inherit, is wanted`);
  return value;
}

function parseFlag(option: string, text: string): boolean {
  if (text !== "true" && text !== "false") throw new DrayError("USAGE", `Cannot read ${option} "${text}": true or false is wanted`);
  return text === "true";
}

function parseName(option: string, text: string, known: readonly string[]): string {
  if (!known.includes(text)) throw new DrayError("USAGE", `Cannot read ${option} "${text}": it is not known`, { hint: `Known: ${known.join(", ")}.` });
  return text;
}

function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}
