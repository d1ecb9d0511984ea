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
  { words: ["demo"], summary: "Back up, destroy and restore an application on this machine", load: () => import("./demo.ts") },
  { words: ["backup", "create"], summary: "Back up namespaces, with the data of their volumes", load: () => import("./backup-create.ts") },
  { words: ["backup", "get"], summary: "List backups", load: () => import("./backup-get.ts") },
  { words: ["backup", "describe"], summary: "Show what a backup is, did and holds", load: () => import("./backup-describe.ts") },
  { words: ["backup", "logs"], summary: "Show the log of a backup", load: () => import("./backup-logs.ts") },
  { words: ["backup", "download"], summary: "Fetch the resources of a backup", load: () => import("./backup-download.ts") },
  { words: ["backup", "delete"], summary: "Delete backups and everything they stored", load: () => import("./backup-delete.ts") },
  { words: ["restore", "create"], summary: "Bring a backup back", load: () => import("./restore-create.ts") },
  { words: ["restore", "plan"], summary: "Show what a restore would create, change and fetch", load: () => import("./restore-plan.ts") },
  { words: ["restore", "get"], summary: "List restores", load: () => import("./restore-get.ts") },
  { words: ["restore", "describe"], summary: "Show what a restore is and did", load: () => import("./restore-describe.ts") },
  { words: ["restore", "logs"], summary: "Show the log of a restore", load: () => import("./restore-logs.ts") },
  { words: ["restore", "delete"], summary: "Delete the record of restores", load: () => import("./restore-delete.ts") },
  { words: ["schedule", "create"], summary: "Make backups by the clock", load: () => import("./schedule-create.ts") },
  { words: ["schedule", "get"], summary: "List schedules", load: () => import("./schedule-get.ts") },
  { words: ["schedule", "describe"], summary: "Show a schedule and what its backups take", load: () => import("./schedule-describe.ts") },
  { words: ["schedule", "pause"], summary: "Make no backups for now", load: () => import("./schedule-pause.ts") },
  { words: ["schedule", "unpause"], summary: "Make backups again", load: () => import("./schedule-unpause.ts") },
  { words: ["schedule", "delete"], summary: "Delete schedules; their backups stay", load: () => import("./schedule-delete.ts") },
  { words: ["schedule", "run"], summary: "Make the backup of a schedule now", load: () => import("./schedule-run.ts") },
  { words: ["backup-location", "create"], summary: "Add a place for backups", load: () => import("./backup-location-create.ts") },
  { words: ["backup-location", "set"], summary: "Change a backup location", load: () => import("./backup-location-set.ts") },
  { words: ["backup-location", "delete"], summary: "Forget a backup location; its bucket stays", load: () => import("./backup-location-delete.ts") },
  { words: ["snapshot-location", "create"], summary: "Add a place for snapshots", load: () => import("./snapshot-location-create.ts") },
  { words: ["snapshot-location", "get"], summary: "List snapshot locations", load: () => import("./snapshot-location-get.ts") },
  { words: ["snapshot-location", "set"], summary: "Change a snapshot location", load: () => import("./snapshot-location-set.ts") },
  { words: ["snapshot-location", "delete"], summary: "Delete snapshot locations", load: () => import("./snapshot-location-delete.ts") },
  { words: ["backup-location", "get"], summary: "List backup locations", load: () => import("./backup-location-get.ts") },
  { words: ["data-upload", "get"], summary: "List data uploads", load: () => import("./data-upload-get.ts") },
  { words: ["data-upload", "describe"], summary: "Show where a data upload is, and what happened to it", load: () => import("./data-upload-describe.ts") },
  { words: ["data-upload", "cancel"], summary: "Ask data uploads to stop", load: () => import("./data-upload-cancel.ts") },
  { words: ["data-download", "get"], summary: "List data downloads", load: () => import("./data-download-get.ts") },
  {
    words: ["data-download", "describe"],
    summary: "Show where a data download is, and what happened to it",
    load: () => import("./data-download-describe.ts"),
  },
  { words: ["data-download", "cancel"], summary: "Ask data downloads to stop", load: () => import("./data-download-cancel.ts") },
  { words: ["repo", "maintain"], summary: "Keep a repository small and quick", load: () => import("./repo-maintain.ts") },
  { words: ["repo", "get"], summary: "List the BackupRepositories of a cluster", load: () => import("./repo-get.ts") },
  { words: ["repo", "create"], summary: "Create a repository in an empty place", load: () => import("./repo-create.ts") },
  { words: ["repo", "status"], summary: "Show how a repository is made and what it holds", load: () => import("./repo-status.ts") },
  { words: ["repo", "verify"], summary: "Check that everything in a repository can be restored", load: () => import("./repo-verify.ts") },
  { words: ["repo", "repair"], summary: "Put a damaged repository right while nobody else uses it", load: () => import("./repo-repair.ts") },
  { words: ["repo", "upgrade"], summary: "Bring a repository to the newest version of the format", load: () => import("./repo-upgrade.ts") },
  { words: ["repo", "stats"], summary: "Show what takes the space of a repository", load: () => import("./repo-stats.ts") },
  { words: ["repo", "sync-to"], summary: "Copy a repository to another place, or bring a copy up to date", load: () => import("./repo-sync-to.ts") },
  {
    words: ["repo", "validate-provider"],
    summary: "Check that a store keeps what repositories need of it",
    load: () => import("./repo-validate-provider.ts"),
  },
  { words: ["repo", "change-password"], summary: "Change the password of a repository", load: () => import("./repo-change-password.ts") },
  { words: ["repo", "throttle", "get"], summary: "Show the limits of what is asked of a store", load: () => import("./repo-throttle-get.ts") },
  { words: ["repo", "throttle", "set"], summary: "Limit what is asked of a store, also by commands under way", load: () => import("./repo-throttle-set.ts") },
  { words: ["snapshot", "create"], summary: "Store a directory, a file or a block device", load: () => import("./snapshot-create.ts") },
  { words: ["snapshot", "list"], summary: "List the snapshots of a repository", load: () => import("./snapshot-list.ts") },
  { words: ["snapshot", "show"], summary: "Show what is known of a snapshot", load: () => import("./snapshot-show.ts") },
  { words: ["snapshot", "restore"], summary: "Bring a snapshot, or a part of one, back", load: () => import("./snapshot-restore.ts") },
  { words: ["snapshot", "verify"], summary: "Check that snapshots can be restored", load: () => import("./snapshot-verify.ts") },
  { words: ["snapshot", "delete"], summary: "Delete snapshots", load: () => import("./snapshot-delete.ts") },
  { words: ["snapshot", "diff"], summary: "Show what differs between two snapshots", load: () => import("./snapshot-diff.ts") },
  { words: ["snapshot", "expire"], summary: "Delete the snapshots that policies do not keep", load: () => import("./snapshot-expire.ts") },
  { words: ["snapshot", "pin"], summary: "Keep snapshots whatever the policies say, or no longer", load: () => import("./snapshot-pin.ts") },
  { words: ["policy", "get"], summary: "Show the policy that holds for a source", load: () => import("./policy-get.ts") },
  { words: ["policy", "set"], summary: "Change a policy", load: () => import("./policy-set.ts") },
  { words: ["policy", "list"], summary: "List the policies of a repository", load: () => import("./policy-list.ts") },
  { words: ["policy", "remove"], summary: "Remove a policy, so that those above hold", load: () => import("./policy-remove.ts") },
  { words: ["fs", "ls"], summary: "List a directory of a snapshot", load: () => import("./fs-ls.ts") },
  { words: ["fs", "cat"], summary: "Print a file of a snapshot", load: () => import("./fs-cat.ts") },
  { words: ["fs", "cp"], summary: "Copy a file or a directory out of a snapshot", load: () => import("./fs-cp.ts") },
  { words: ["fs", "find"], summary: "Find files in a snapshot", load: () => import("./fs-find.ts") },
  { words: ["fs", "diff"], summary: "Show what differs between two places in snapshots", load: () => import("./fs-diff.ts") },
  { words: ["install"], summary: "Install Drayage in a cluster", load: () => import("./install.ts") },
  { words: ["uninstall"], summary: "Remove Drayage from a cluster; the bucket stays", load: () => import("./uninstall.ts") },
  { words: ["support-bundle"], summary: "Collect what somebody else needs to help, without secrets", load: () => import("./support-bundle.ts") },
  { words: ["doctor"], summary: "Say what is wrong with an installation, why, and what to do", load: () => import("./doctor.ts") },
  { words: ["cluster", "up"], summary: "Start a Kubernetes cluster on this machine", load: () => import("./cluster-up.ts") },
  { words: ["cluster", "down"], summary: "Stop it; its state is kept", load: () => import("./cluster-down.ts") },
  { words: ["cluster", "status"], summary: "Show its processes and nodes", load: () => import("./cluster-status.ts") },
  { words: ["version"], summary: "Print the version of this program", load: () => import("./version.ts") },
  { words: ["completion"], summary: "Print a completion script for bash, zsh or fish", load: () => import("./completion.ts") },
  { words: ["server"], summary: "Decide: Backups, Restores, locations, repositories", hidden: true, load: () => import("../roles/server.ts") },
  { words: ["operator"], summary: "Install what DataProtectionApplications ask for", hidden: true, load: () => import("../roles/operator.ts") },
  { words: ["data-mover", "backup"], summary: "Move one volume into its repository", hidden: true, load: () => import("../roles/data-mover-backup.ts") },
  { words: ["data-mover", "restore"], summary: "Move one volume back", hidden: true, load: () => import("../roles/data-mover-restore.ts") },
  { words: ["pod-volume", "backup"], summary: "Read a volume of a pod into its repository", hidden: true, load: () => import("../roles/pod-volume-backup.ts") },
  { words: ["pod-volume", "restore"], summary: "Fill a volume of a pod", hidden: true, load: () => import("../roles/pod-volume-restore.ts") },
  { words: ["repo-maintenance"], summary: "Maintain one repository", hidden: true, load: () => import("../roles/repo-maintenance.ts") },
  { words: ["restore-helper"], summary: "Wait until a pod's volumes are filled", hidden: true, load: () => import("../roles/restore-helper.ts") },
  { words: ["node-agent", "server"], summary: "Move data of this node's volumes", hidden: true, load: () => import("../roles/node-agent.ts") },
  { words: ["demo-app"], summary: "The application of the demo", hidden: true, load: () => import("./demo-app.ts") },
  {
    words: ["embedded", "control-plane"],
    summary: "The control plane of the embedded cluster",
    hidden: true,
    load: () => import("../roles/embedded-control-plane.ts"),
  },
  { words: ["embedded", "object-store"], summary: "The bucket of the demo", hidden: true, load: () => import("../roles/embedded-object-store.ts") },
  { words: ["embedded", "node"], summary: "A node of the embedded cluster", hidden: true, load: () => import("../roles/embedded-node.ts") },
  { words: ["__complete"], summary: "Candidates for a shell", hidden: true, load: () => import("./complete.ts") },
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
  policy: "How long snapshots are kept, and what is in them",
  repo: "Repositories",
  "repo throttle": "How much a store is asked for",
  restore: "Bring applications back",
  schedule: "Backups by the clock",
  snapshot: "Snapshots of directories and devices",
  "snapshot-location": "Where a provider keeps snapshots",
};
