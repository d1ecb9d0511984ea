/**
 * Packs what a vendor installs, @drayage/mover-sdk and @drayage/api with what they stand on, as npm tarballs: JavaScript and declarations, since Node strips no types below
 * node_modules. `--out DIR` says where they go, dist/npm when left out.
 */
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

const root = resolve(import.meta.dirname, "..");
/** In the order in which they stand on each other. */
const PACKAGES = ["base", "api", "mover-sdk"];
/** What the code reads, and what people read. */
const FOLDERS = ["crds", "examples"];
const outAt = process.argv.indexOf("--out");
const out = resolve(outAt < 0 ? join(root, "dist", "npm") : (process.argv[outAt + 1] ?? ""));

mkdirSync(out, { recursive: true });
const staging = mkdtempSync(join(tmpdir(), "dray-pack-"));
try {
  for (const name of PACKAGES) process.stdout.write(`${pack(name)}\n`);
} finally {
  rmSync(staging, { recursive: true, force: true });
}

/** The path of its tarball. */
function pack(name: string): string {
  const source = join(root, "packages", name);
  const folder = join(staging, name);
  compile(source, join(folder, "dist"));
  for (const other of FOLDERS) {
    const isWanted = (path: string): boolean => !/\.test\.ts$|\/testing(\/|$)/.test(path);
    if (existsSync(join(source, other))) cpSync(join(source, other), join(folder, other), { recursive: true, filter: isWanted });
  }
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8")) as Manifest;
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(published(manifest), null, 2)}\n`);
  const options: ExecFileSyncOptionsWithStringEncoding = { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] };
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--offline", "--no-update-notifier", "--pack-destination", out], options),
  ) as {
    filename: string;
  }[];
  return join(out, packed?.filename ?? "");
}

/** As in the repository, with what is compiled in the place of its source, and without what only our own tests use. */
function published({ private: _private, exports, ...manifest }: Manifest): object {
  const compiled = (path: string, extension: string): string => path.replace("./src/", "./dist/").replace(/\.ts$/, extension);
  const entries = Object.entries(exports).filter(([entry]) => entry !== "./testing");
  return {
    ...manifest,
    exports: Object.fromEntries(entries.map(([entry, path]) => [entry, { types: compiled(path, ".d.ts"), default: compiled(path, ".js") }])),
  };
}

function compile(source: string, target: string): void {
  const project = join(staging, "tsconfig.json");
  writeFileSync(
    project,
    JSON.stringify({
      extends: join(root, "tsconfig.base.json"),
      compilerOptions: { noEmit: false, declaration: true, rootDir: join(source, "src"), outDir: target, typeRoots: [join(root, "node_modules", "@types")] },
      include: [join(source, "src")],
      exclude: [join(source, "**", "*.test.ts"), join(source, "**", "testing")],
    }),
  );
  execFileSync(join(root, "node_modules", ".bin", "tsc"), ["-p", project], { stdio: ["ignore", "inherit", "inherit"] });
  // The compiler writes the extensions of the source into declarations.
  for (const path of readdirSync(target, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".d.ts"))) {
    const text = readFileSync(join(target, path), "utf8");
    writeFileSync(join(target, path), text.replaceAll(/((?:from|import)\s*\(?\s*")(\.{1,2}\/[^"]+)\.ts"/g, '$1$2.js"'));
  }
}
