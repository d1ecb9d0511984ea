import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addonPlaces, PLATFORM_PACKAGE } from "../packages/kernels/src/native/addon-file.ts";
import { loadNative } from "../packages/kernels/src/native/load-native.ts";
import { prepareNative } from "../packages/kernels/src/native/prepare-native.ts";
import { kernelBuilds } from "../packages/kernels/src/testing/builds.ts";

const hasCompiler = (await kernelBuilds()).length > 1;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-packed-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.runIf(hasCompiler)("the platform package of the kernels", { timeout: 300_000 }, () => {
  it("is loaded where it is installed and nothing can be compiled, and not when it is damaged or of another source", async () => {
    const tool = resolve(import.meta.dirname, "pack-kernels.ts");
    const tarball = execFileSync(process.execPath, [tool, "--out", folder], { encoding: "utf8" }).trim();
    // As npm lays it out.
    const prebuilt = join(folder, "node_modules", PLATFORM_PACKAGE);
    mkdirSync(prebuilt, { recursive: true });
    execFileSync("tar", ["-xzf", tarball, "-C", prebuilt, "--strip-components=1"]);
    expect(JSON.parse(readFileSync(join(prebuilt, "package.json"), "utf8"))).toMatchObject({
      name: PLATFORM_PACKAGE,
      os: [process.platform],
      cpu: [process.arch],
    });
    const places = { ...addonPlaces(), prebuilt, folders: [join(folder, "none")], searchPath: "" };
    const path = join(prebuilt, readdirSync(prebuilt).find((name) => name.endsWith(".node")) ?? "");
    expect(await prepareNative({ places })).toEqual({ state: "ready" });
    expect(loadNative(places)).toMatchObject({ path });

    // What others may write to is not run.
    chmodSync(path, 0o777);
    expect(loadNative(places)).toMatchObject({ addon: undefined, broken: false });
    chmodSync(path, 0o755);

    const source = join(folder, "source");
    mkdirSync(source);
    for (const name of readdirSync(join(addonPlaces().source, ".."))) {
      if (/\.(cc|h)$/.test(name)) writeFileSync(join(source, name), readFileSync(join(addonPlaces().source, "..", name)));
    }
    appendFileSync(join(source, "kernels.cc"), "// newer\n");
    expect(loadNative({ ...places, source: join(source, "kernels.cc") })).toMatchObject({ addon: undefined, broken: false });

    // One that does not load gives way to what was compiled here.
    const damaged = join(folder, "damaged");
    mkdirSync(damaged);
    writeFileSync(join(damaged, readdirSync(prebuilt).find((name) => name.endsWith(".node")) ?? ""), "no library", { mode: 0o755 });
    expect(loadNative({ ...places, prebuilt: damaged })).toMatchObject({ addon: undefined, broken: true });
    expect(loadNative({ ...places, prebuilt: damaged, folders: [prebuilt] })).toMatchObject({ path });
  });
});
