import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ContainerLog, type LogOptions, readContainerLog } from "./container-log.ts";

describe("container log", () => {
  let folder: string;
  let path: string;
  let clock: VirtualClock;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dray-log-"));
    path = join(folder, "c", "0.log");
    clock = new VirtualClock(Date.UTC(2026, 0, 1));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const read = async (options: LogOptions = {}, log?: ContainerLog): Promise<string> => {
    const parts: Buffer[] = [];
    for await (const part of readContainerLog(path, options, log)) parts.push(part);
    return Buffer.concat(parts).toString();
  };

  it("stores each line with its time and stream, and gives back the text", async () => {
    const log = new ContainerLog(path, clock);
    log.append("stdout", Buffer.from("one\ntw"));
    log.append("stderr", Buffer.from("bad\r\n"));
    log.append("stdout", Buffer.from("o\n\nunfinished"));
    log.close();
    expect(await read()).toBe("one\nbad\r\ntwo\n\nunfinished\n");
    expect(await read({ timestamps: true, tailLines: 1 })).toBe("2026-01-01T00:00:00.000000000Z unfinished\n");
    expect(await read({ stream: "stderr" })).toBe("bad\r\n");
  });

  it("keeps bytes that are not UTF-8 and lines longer than a part", async () => {
    const log = new ContainerLog(path, clock);
    const long = Buffer.alloc(40_000, 0xff);
    log.append("stdout", Buffer.concat([long, Buffer.from("\nend\n")]));
    log.close();
    const parts: Buffer[] = [];
    for await (const part of readContainerLog(path)) parts.push(part);
    expect(Buffer.concat(parts).equals(Buffer.concat([long, Buffer.from("\nend\n")]))).toBe(true);
    expect((await read({ tailLines: 2 })).length).toBeGreaterThan(40_000);
    expect(await read({ tailLines: 1 })).toBe("end\n");
  });

  it("finds the last lines of a log of many blocks", async () => {
    const log = new ContainerLog(path, clock);
    for (let at = 0; at < 5_000; at++) log.append("stdout", Buffer.from(`line ${at} ${"x".repeat(at % 90)}\n`));
    log.close();
    expect((await read({ tailLines: 3_000 })).split("\n")[0]).toMatch(/^line 2000 /);
    expect((await read({ tailLines: 9_000 })).split("\n")[0]).toMatch(/^line 0 /);
    expect(await read({ tailLines: 0 })).toBe("");
  });

  it("leaves out what is older than asked for and stops at the limit", async () => {
    const log = new ContainerLog(path, clock);
    log.append("stdout", Buffer.from("old\n"));
    await clock.advance(60_000);
    log.append("stdout", Buffer.from("new\n"));
    log.close();
    expect(await read({ sinceMs: clock.nowMs() - 1_000 })).toBe("new\n");
    expect(await read({ limitBytes: 5 })).toBe("old\nn");
  });

  it("is followed across a rotation until it is closed", async () => {
    const log = new ContainerLog(path, clock, 200);
    const reading = readContainerLog(path, {}, log);
    for (let at = 0; at < 8; at++) {
      log.append("stdout", Buffer.from(`line ${at}\n`));
      expect((await reading.next()).value?.toString()).toBe(`line ${at}\n`);
    }
    log.close();
    expect(await reading.next()).toEqual({ done: true, value: undefined });
  });

  it("is followed without a gap when it turned while nobody read", async () => {
    const log = new ContainerLog(path, clock, 200);
    const reading = readContainerLog(path, {}, log);
    log.append("stdout", Buffer.from("first\n"));
    expect((await reading.next()).value?.toString()).toBe("first\n");
    for (let at = 0; at < 6; at++) log.append("stdout", Buffer.from(`line ${at}\n`));
    log.close();
    const rest: Buffer[] = [];
    for await (const part of reading) rest.push(part);
    expect(Buffer.concat(rest).toString()).toBe(Array.from({ length: 6 }, (_, at) => `line ${at}\n`).join(""));
  });

  it("reads a log that is not there as empty", async () => {
    expect(await read()).toBe("");
  });
});
