import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { gather } from "../engine/values.ts";
import type { BackupImportOptions } from "../import/import-backups.ts";
import type { PlainImportOptions } from "../import/import-plain.ts";
import type { Terminal } from "../terminal.ts";

const RESTIC = "restic+";

type Options = PlainImportOptions & BackupImportOptions;

export function define(command: Command, terminal: Terminal): void {
  command
    .argument(
      "<from>",
      "restic+file:///path or restic+s3://bucket/path?… for a repository; s3://bucket?… or file:///path for the backups of OADP 1.1 and 1.2 in a bucket",
    )
    .argument("[repository]", "for restic+…: where it goes, file:///path or s3://bucket/prefix?…")
    .option("--password-file <file>", "password of the repository it goes to, - for standard input (DRAY_REPOSITORY_PASSWORD, else asked for)")
    .option("--restic-password-file <file>", "password of restic's repositories (RESTIC_PASSWORD, RESTIC_PASSWORD_FILE, else the same as the other)")
    .option("--all", "every snapshot of the repository; every backup of the bucket")
    .option("--snapshot <id>", "of a repository: this one, by the beginning of its id; may be repeated (default: the newest)", gather)
    .option("--host <name>", "of a repository: those of this host")
    .option("--tag <tag>", "of a repository: those with this tag; may be repeated", gather)
    .option("--source <user@host:path>", "of a repository: under which name they are kept (default: their own)")
    .option("--prefix <prefix>", "of a bucket: the prefix of the backup location")
    .option("--backup <name>", "of a bucket: this backup; may be repeated", gather)
    .option("-l, --selector <labels>", "of a bucket: backups with these labels")
    .option("--namespace <name>", "of a bucket: the namespace of the installation that will restore (default: that of the backup)")
    .option("--dry-run", "say what would be imported, and how much it is")
    .option("--keep-going", "import what can be read when something is damaged")
    .option("--no-verify", "do not read back what was stored")
    .option("--json", "events and results as JSON, one a line")
    .action(async (from: string, to: string | undefined, options: Options) => {
      if (from.startsWith(RESTIC)) {
        if (to === undefined)
          throw new DrayError("USAGE", `Cannot import "${from}": nothing says where to`, {
            hint: "For example: dray import volsync restic+file:///old file:///new",
          });
        return await (await import("../import/import-plain.ts")).importPlain(from.slice(RESTIC.length), to, options, terminal);
      }
      if (to !== undefined)
        throw new DrayError("USAGE", `Cannot import backups to "${to}": they stay in their bucket`, {
          hint: `For a repository of restic's, put ${RESTIC} before its URL.`,
        });
      await (await import("../import/import-backups.ts")).importBackups(from, options, terminal);
    });
}
