import { type Backup, backups } from "@drayage/api";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { backupKind } from "../commands/backup-get.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { type GetOptions, getObjects } from "./get.ts";

let client: FakeKubeClient;
let terminal: RecordingTerminal;
beforeEach(() => {
  terminal = new RecordingTerminal();
  client = new FakeKubeClient({ clock: terminal.clock });
  for (const [namespace, name, tier] of [
    ["velero", "a", "gold"],
    ["velero", "b", "tin"],
    ["other", "c", "gold"],
  ] as const)
    client.seed<Backup>(backups, {
      metadata: { namespace, name, labels: { tier }, managedFields: [{ manager: "x" }] },
      spec: {},
      status: { phase: "Completed" },
    });
});

const get = (names: readonly string[], options: GetOptions = {}): Promise<void> =>
  getObjects({ client, namespace: "velero" }, backups, backupKind(0), names, options, terminal);
const namesShown = (): string[] =>
  terminal.text
    .split("\n")
    .slice(1, -1)
    .map((line) => line.split(/\s+/)[0] ?? "");

describe("getObjects", () => {
  it("lists those of the namespace, of every namespace, or with a label", async () => {
    await get([]);
    expect(namesShown()).toEqual(["a", "b"]);
    terminal.text = "";
    await get([], { allNamespaces: true });
    expect(terminal.text).toMatch(/^NAMESPACE +NAME +STATUS/);
    expect(namesShown()).toEqual(["other", "velero", "velero"]);
    terminal.text = "";
    await get([], { selector: "tier=tin" });
    expect(namesShown()).toEqual(["b"]);
  });

  it("says on the error stream that there are none, and prints an empty list where one was asked for", async () => {
    await get([], { selector: "tier=lead" });
    expect(terminal.text).toBe("");
    expect(terminal.errors).toBe("No backups found in namespace velero.\n");
    await get([], { selector: "tier=lead", output: "json" });
    expect(JSON.parse(terminal.text)).toMatchObject({ kind: "List", items: [] });
  });

  it("shows what it found before it says what it did not find", async () => {
    await expect(get(["a", "nothing"])).rejects.toMatchObject({
      code: "BACKUP_NOT_FOUND",
      message: 'Cannot find Backup "nothing" in namespace "velero"',
      hint: "There are: a, b.",
    });
    expect(namesShown()).toEqual(["a"]);
  });

  it("leaves out who set which field", async () => {
    await get(["a"], { output: "yaml" });
    expect(terminal.text).toContain("name: a\n");
    expect(terminal.text).not.toContain("managedFields");
  });

  it.each([
    ["xml", "table, wide, json, yaml, name or jsonpath=TEMPLATE is wanted"],
    ["jsonpath={.a", "a brace is not closed"],
  ])("refuses the format %s before it asks for anything", async (output, message) => {
    await expect(get([], { output })).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining(message) });
    expect(client.calls).toEqual([]);
  });
});
