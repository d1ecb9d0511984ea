import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "dray-doctor-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

describe("dray doctor", () => {
  it("looks at the engine alone where there is no cluster, and says so", async () => {
    const terminal = new RecordingTerminal({ env: { HOME: home } });
    terminal.exitCode = await run(["doctor"], terminal);
    expect(terminal.text).toMatch(/kernels are in use here/);
    expect(terminal.text).toMatch(/ok {7}No cluster was looked at\n {9}why: Cannot find a Kubernetes cluster/);
    expect(terminal.exitCode).toBe(0);
  });

  it("fails where the cluster that was named cannot be found", async () => {
    const terminal = new RecordingTerminal({ env: { HOME: home } });
    terminal.exitCode = await run(["doctor", "--kubeconfig", join(home, "missing")], terminal);
    expect(terminal.exitCode).not.toBe(0);
    expect(terminal.errors).toContain(join(home, "missing"));
  });

  it("opens the repository that the environment names, and says why it cannot", async () => {
    const terminal = new RecordingTerminal({
      env: { HOME: home, DRAY_REPOSITORY: `file://${join(home, "repository")}`, DRAY_REPOSITORY_PASSWORD: "secret words", DRAY_STATE_DIR: join(home, "state") },
    });
    terminal.exitCode = await run(["doctor", "--json"], terminal);
    expect(JSON.parse(terminal.text)).toContainEqual(expect.objectContaining({ severity: "error", what: "The repository cannot be opened" }));
    expect(terminal.exitCode).toBe(1);
    await run(["repo", "create"], terminal);
    terminal.text = "";
    terminal.exitCode = 0;
    terminal.exitCode = await run(["doctor", "--json"], terminal);
    expect(JSON.parse(terminal.text)).toContainEqual({ severity: "ok", what: expect.stringMatching(/^Repository .* opens: 0 snapshots$/) });
    expect(terminal.exitCode).toBe(0);
    expect(terminal.text).not.toContain("secret words");
  });
});
