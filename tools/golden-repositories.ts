/**
 * Makes the golden repositories of `test/fixtures/kopia-0.22.3/repositories`: small ones that kopia wrote, so that the core of the format matrix is read where kopia is not.
 * `node tools/golden-repositories.ts`; kopia is found as the compat tests find it. The result differs each time (keys are random); it is made anew only when the list below changes.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kopiaClient } from "../test/compat/kopia-client.ts";

const PASSWORD = "golden password";
const target = join(import.meta.dirname, "../test/fixtures/kopia-0.22.3/repositories");

interface Recipe {
  readonly name: string;
  readonly create: readonly string[];
  /** One compressor for each folder. */
  readonly compressors: readonly string[];
  /** What else is run before the repository is kept. */
  readonly afterwards?: readonly (readonly string[])[];
}

const recipes: readonly Recipe[] = [
  { name: "version-1", create: ["--format-version=1", "--block-hash=HMAC-SHA256-128", "--object-splitter=FIXED-1M"], compressors: ["none", "gzip"] },
  {
    name: "version-2",
    create: ["--format-version=2", "--block-hash=BLAKE2S-256", "--encryption=CHACHA20-POLY1305-HMAC-SHA256"],
    compressors: ["zstd", "s2-default"],
  },
  {
    name: "version-3",
    create: ["--block-hash=BLAKE3-256", "--object-splitter=DYNAMIC-128K-BUZHASH"],
    compressors: ["pgzip", "deflate-default", "zstd-best-compression", "s2-better", "lz4", "gzip-best-speed"],
  },
  {
    name: "error-correction",
    create: ["--block-hash=HMAC-SHA3-224", "--ecc-overhead-percent=10", "--object-splitter=DYNAMIC-128K-RABINKARP"],
    compressors: ["zstd-fastest"],
  },
  {
    name: "maintained",
    create: ["--format-version=1"],
    compressors: ["none"],
    afterwards: [["maintenance", "run", "--full", "--safety=none"]],
  },
];

async function make({ name, create, compressors, afterwards = [] }: Recipe): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "golden-"));
  try {
    const [home, repository, source] = ["home", "repository", "source"].map((part) => join(folder, part)) as [string, string, string];
    for (const path of [home, repository, source]) mkdirSync(path);
    const kopia = kopiaClient(home, PASSWORD);
    const commands: string[][] = [
      ["repository", "create", "filesystem", "--path", repository, "--override-username=user", "--override-hostname=host", ...create],
    ];
    const files: Record<string, string> = {};
    for (const compressor of compressors) {
      const at = join(source, compressor);
      mkdirSync(at);
      const contents = { text: Buffer.from(`${compressor} repeats itself\n`.repeat(2000)), noise: noise(3000, compressor), empty: Buffer.alloc(0) };
      for (const [file, bytes] of Object.entries(contents)) {
        writeFileSync(join(at, file), bytes);
        utimesSync(join(at, file), 1_700_000_000, 1_700_000_000);
        files[`${compressor}/${file}`] = createHash("sha256").update(bytes).digest("hex");
      }
      commands.push(["policy", "set", at, `--compression=${compressor}`]);
    }
    commands.push(["snapshot", "create", source], ...afterwards.map((command) => [...command]));
    for (const command of commands) await kopia(...command);
    const blobs = Object.fromEntries(
      readdirSync(repository, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith(".f"))
        .map((entry) => join(entry.parentPath, entry.name))
        .filter((path) => !path.slice(repository.length).startsWith("/_"))
        .sort()
        .map((path) => [path.slice(repository.length + 1, -2).replaceAll("/", ""), readFileSync(path).toString("base64")]),
    );
    const shown = commands.map((command) => ["kopia", ...command.map((word) => word.replaceAll(folder, "/data"))].join(" "));
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, `${name}.json`), `${JSON.stringify({ commands: shown, password: PASSWORD, files, blobs }, null, 1)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Bytes that do not compress and are the same each time. */
function noise(length: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < length; at += 32) parts.push(createHash("sha256").update(`${seed} ${at}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

for (const recipe of recipes) await make(recipe);
