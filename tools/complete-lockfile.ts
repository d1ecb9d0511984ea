/**
 * Completes package-lock.json with the platform packages of other platforms that the registry at hand did not offer while the lockfile was written.
 * npm leaves such optional dependencies out, and `npm ci` then refuses the lockfile. The entries name version and platform only: npm skips them here, and fetches them where they fit.
 *
 *   npm install --package-lock-only && node tools/complete-lockfile.ts        `--check` only says what is missing
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Entry {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const OS = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32", "aix"] as const;
const CPU = ["arm64", "arm", "x64", "ia32", "ppc64", "riscv64", "s390x", "loong64", "mips64el", "wasm32"] as const;

const path = join(import.meta.dirname, "..", "package-lock.json");
const lock = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, Entry> };

/** The platform that a name such as `@oxlint/binding-linux-arm-musleabihf` or `sqlite-darwin-x64` is for; undefined for other names. */
export function platformOf(name: string): Pick<Entry, "os" | "cpu" | "libc"> | undefined {
  const words = name.split(/[-/]/);
  const os = OS.find((candidate) => words.includes(candidate));
  const cpu = CPU.find((candidate) => words.includes(candidate));
  if (os === undefined || cpu === undefined) return undefined;
  const libc = words.some((word) => word.startsWith("musl")) ? "musl" : words.some((word) => word.startsWith("gnu")) ? "glibc" : undefined;
  return { os: [os], cpu: [cpu], ...(libc === undefined || os !== "linux" ? {} : { libc: [libc] }) };
}

const missing: [string, Entry][] = [];
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    const platform = platformOf(name);
    if (lock.packages[key] !== undefined || platform === undefined || !/^\d/.test(version)) continue;
    missing.push([key, { version, ...(entry.dev === true ? { dev: true } : {}), optional: true, ...platform }]);
  }
}
for (const [key, entry] of missing) process.stdout.write(`${key} ${entry.version}\n`);
if (process.argv.includes("--check")) process.exitCode = missing.length > 0 ? 1 : 0;
else if (missing.length > 0) {
  const packages = Object.entries({ ...lock.packages, ...Object.fromEntries(missing) }).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`);
}
