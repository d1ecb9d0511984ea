/** Programs in a folder of plug-ins that are none, or none that can be used. Real plug-ins are in test/compat/velero-plugins.test.ts. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseHandshake } from "./handshake.ts";
import { PluginHost } from "./plugin-host.ts";
import { LineReader } from "./plugin-output.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "plugins-"));
  mkdirSync(join(folder, "plugins"));
  mkdirSync(join(folder, "temporary"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, script: string): void {
  const path = join(folder, "plugins", name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

const open = (startTimeoutMs = 10_000): Promise<PluginHost> =>
  PluginHost.open({
    folder: join(folder, "plugins"),
    temporaryFolder: join(folder, "temporary"),
    env: { PATH: process.env["PATH"] },
    clock: systemClock,
    logger: nullLogger,
    startTimeoutMs,
  });

describe("a folder of plug-ins", () => {
  it.each<[what: string, script: string, problem: RegExp]>([
    ["that ends at once", "echo no cloud today >&2; exit 3", /Cannot use plug-in ".*bad": it ended with code 3; its last words: no cloud today/],
    ["that kills itself", "kill -9 $$", /it was ended by SIGKILL/],
    ["that is no plug-in", "echo hello; sleep 60", /its first line is "hello", which is not that of a plug-in/],
    [
      "that speaks another version of Velero's protocol",
      "echo '1|7|unix|/tmp/x|grpc|'; sleep 60",
      /it speaks version 7 of Velero's plug-in protocol, 2 is wanted/,
    ],
    ["that speaks another version of go-plugin", "echo '3|2|unix|/tmp/x|grpc|'; sleep 60", /it speaks version 3 of go-plugin, 1 is wanted/],
    ["that is reached otherwise", "echo '1|2|unix|/tmp/x'; sleep 60", /it is reached by net\/rpc, grpc is wanted/],
    ["that listens for everybody", "echo '1|2|tcp|0.0.0.0:80|grpc|'; sleep 60", /listens on "tcp 0.0.0.0:80"/],
    ["that prints without end", "yes | tr -d '\\n'", /its first line is "yyyy/],
    ["whose socket is not there", "echo '1|2|unix|/nowhere/at-all|grpc|'; sleep 60", /Cannot finish ListPlugins of plug-in ".*bad": it is not to be reached/],
  ])("leaves out a program %s, says why, and leaves nothing of it", async (_what, script, problem) => {
    program("bad", script);
    const host = await open();
    expect(host.plugins).toEqual([]);
    expect(host.problems).toEqual([expect.stringMatching(problem)]);
    expect(readdirSync(join(folder, "temporary"))).toEqual([]);
    await host.stop();
  });

  it("does not wait for one that says nothing", async () => {
    program("mute", "sleep 60");
    expect((await open(50)).problems).toEqual([expect.stringMatching(/it has said nothing within 0.05 s of its start/)]);
    expect(readdirSync(join(folder, "temporary"))).toEqual([]);
  });

  it("takes no notice of what is not executable, and may not be there at all", async () => {
    writeFileSync(join(folder, "plugins", "README"), "");
    expect((await open()).problems).toEqual([]);
    rmSync(join(folder, "plugins"), { recursive: true });
    expect((await open()).plugins).toEqual([]);
  });
});

describe("a plug-in's line", () => {
  it("names a socket or an address of this machine", () => {
    expect(parseHandshake("1|2|unix|/tmp/plugin1|grpc|", "p")).toEqual({ target: "unix:///tmp/plugin1" });
    expect(parseHandshake("1|2|tcp|127.0.0.1:1234|grpc||true\n", "p")).toEqual({ target: "127.0.0.1:1234" });
  });

  it("is cut where it is too long, whatever comes in which pieces", () => {
    const lines: string[] = [];
    const reader = new LineReader((line) => lines.push(line), 4);
    for (const piece of ["a", "b\nc", "defgh", "ij\n", "k\n"]) reader.push(Buffer.from(piece));
    expect(lines).toEqual(["ab", "cdef", "k"]);
  });
});
