import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-validate-"));
  await writeFile(join(folder, "theirs.f"), "x");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function dray(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = Object.assign(new RecordingTerminal(), { clock: systemClock });
  const code = await run(args, terminal);
  return { code, out: terminal.text, err: terminal.errors };
}

describe("dray repo validate-provider", () => {
  it("says of each guarantee that it is kept, and leaves a place in use as it was", async () => {
    const { code, out } = await dray("repo", "validate-provider", folder, "--quick");
    expect(code).toBe(0);
    expect(out.split("\n").filter((line) => line.startsWith("  ok    ")).length).toBe(8);
    expect(out).toContain("The place can hold repositories: 8 guarantees are kept\n");
    expect(await readdir(folder)).toEqual(["theirs.f"]);
  });

  it("says the same as events, the summary last", async () => {
    const { code, out } = await dray("repo", "validate-provider", `file://${folder}`, "--quick", "--json");
    const events = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(code).toBe(0);
    expect(events.length).toBe(9);
    expect(events.at(-1)).toMatchObject({ type: "summary", usable: true, passed: 8, failed: 0, lacking: 0 });
    expect(events[0]).toMatchObject({ type: "check", name: "read-after-write", passed: true, needed: true });
  });

  it("says that a place cannot be reached, rather than that it is bad", async () => {
    const { code, err } = await dray("repo", "validate-provider", join(folder, "theirs.f", "below-a-file"));
    expect(code).not.toBe(0);
    expect(err).toContain("theirs.f");
  });
});

describe("dray repo create", () => {
  it.each([
    [["--retention-mode", "GOVERNANCE"], "--retention-mode and --retention-period go together"],
    [["--retention-mode", "SOFT", "--retention-period", "720h"], 'Cannot use --retention-mode "SOFT"'],
    [["--retention-mode", "COMPLIANCE", "--retention-period", "24h"], "at least 48h is wanted"],
    [["--retention-mode", "COMPLIANCE", "--retention-period", "soon"], 'Cannot read --retention-period "soon"'],
  ])("refuses %j before it asks for anything", async (flags, said) => {
    const { code, err } = await dray("repo", "create", "-r", join(folder, "new"), ...flags);
    expect(code).toBe(2);
    expect(err).toContain(said);
  });

  it("says of a folder that it has no object lock, and leaves no repository behind", async () => {
    const password = join(folder, "password");
    await writeFile(password, "secret horse");
    const flags = ["--password-file", password, "--retention-mode", "GOVERNANCE", "--retention-period", "720h"];
    const { code, err } = await dray("repo", "create", "-r", join(folder, "locked"), ...flags);
    expect(code).toBe(1);
    expect(err).toContain("a folder has no object lock");
    expect(await readdir(join(folder, "locked"))).not.toContain("kopia.repository.f");
  });
});
