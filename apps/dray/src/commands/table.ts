/** Every command: its words, one line about it, and the module that knows more. Modules load only when their command runs, so that the program starts fast. */
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

/** A command's module: adds arguments, options and the action to a command that has its name and summary already. The action throws to fail, and sets `terminal.exitCode` to end otherwise than with 0. */
export interface CommandModule {
  define(command: Command, terminal: Terminal): void;
}

export interface CommandEntry {
  /** `["snapshot", "create"]`. */
  readonly words: readonly string[];
  readonly summary: string;
  /** Left out of help: roles that pods run. */
  readonly hidden?: boolean;
  readonly load: () => Promise<CommandModule>;
}

export const commandTable: readonly CommandEntry[] = [
  { words: ["version"], summary: "Print the version of this program and of the server", load: () => import("./version.ts") },
];

/** One line about each group, shown by help. */
export const groupSummaries: Readonly<Record<string, string>> = {
  backup: "Back up, list, describe, delete",
  "backup-location": "Where backups go",
  cluster: "A Kubernetes cluster on this machine",
  "data-download": "Volumes on their way back",
  "data-upload": "Volumes on their way to the store",
  "demo-app": "The application of the demo",
  fs: "Look into snapshots",
  repo: "Repositories",
  restore: "Bring applications back",
  schedule: "Backups by the clock",
  snapshot: "Snapshots of directories and devices",
};
