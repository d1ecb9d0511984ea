/**
 * Packs the addon compiled for this kind of machine as an npm tarball, `@drayage/kernels-PLATFORM-ARCHITECTURE`: where it is installed beside the program nothing is compiled.
 * `--out DIR` says where it goes, dist/npm when left out. Packages for other kinds of machines are made on such.
 *
 * The file in it has the name that the loader looks for, which follows from the source: a package of another version is not taken, and neither is one that fails its self-test.
 * Compiled against the C library of this machine; npm does not install it beside musl.
 */
import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { addonName, addonPlaces, PLATFORM_PACKAGE } from "../packages/kernels/src/native/addon-file.ts";
import { prepareNative } from "../packages/kernels/src/native/prepare-native.ts";

const root = resolve(import.meta.dirname, "..");
const outAt = process.argv.indexOf("--out");
const out = resolve(outAt < 0 ? join(root, "dist", "npm") : (process.argv[outAt + 1] ?? ""));

mkdirSync(out, { recursive: true });
const staging = mkdtempSync(join(tmpdir(), "dray-kernels-"));
try {
  process.stdout.write(`${await pack()}\n`);
} finally {
  rmSync(staging, { recursive: true, force: true });
}

/** The path of the tarball. */
async function pack(): Promise<string> {
  // Compiled afresh, and never taken from a package that is installed.
  const { prebuilt: _, ...places } = addonPlaces();
  const compiled = join(staging, "compiled");
  const { state, reason = "" } = await prepareNative({ places: { ...places, folders: [compiled] } });
  const name = addonName(places);
  if (state === "unavailable" || name === undefined) throw new Error(`Cannot pack ${PLATFORM_PACKAGE}: ${reason}`);
  const folder = join(staging, "package");
  mkdirSync(folder);
  cpSync(join(compiled, name), join(folder, name));
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest(name), null, 2)}\n`);
  const options: ExecFileSyncOptionsWithStringEncoding = { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] };
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--offline", "--pack-destination", out], options)) as {
    filename: string;
  }[];
  return join(out, packed?.filename ?? "");
}

function manifest(file: string): object {
  const { version, license } = JSON.parse(readFileSync(join(root, "packages", "kernels", "package.json"), "utf8")) as Record<"version" | "license", string>;
  return {
    name: PLATFORM_PACKAGE,
    version,
    description: `The native kernels of Drayage, compiled for ${process.platform} on ${process.arch}`,
    license,
    os: [process.platform],
    cpu: [process.arch],
    ...(process.platform === "linux" ? { libc: ["glibc"] } : {}),
    files: [file],
  };
}
