import type { Command } from "commander";
import { askPassword, passwordFromFile, type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly newPasswordFile?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--new-password-file <file>", "a file holding the new password (DRAY_NEW_REPOSITORY_PASSWORD, else asked for)")
    .action(async (options: Options) => {
      let password = "";
      // It is needed for opening as well: a change that was cut off may have encrypted a part of the repository under it.
      const nextPassword = async (): Promise<string> => {
        password = await newPassword(options, terminal);
        return password;
      };
      await withRepository(options, terminal, { readOnly: false, nextPassword }, async (repository) => {
        await repository.changePassword(password);
        if (options.json === true) terminal.out(formatJson({ type: "summary", repository: repository.description }));
        else terminal.out(`Changed the password of ${repository.description}\n`);
      });
    });
}

async function newPassword({ newPasswordFile }: Options, terminal: Terminal): Promise<string> {
  if (newPasswordFile !== undefined) return await passwordFromFile(newPasswordFile, terminal);
  const fromEnvironment = terminal.env["DRAY_NEW_REPOSITORY_PASSWORD"];
  if (fromEnvironment !== undefined && fromEnvironment !== "") return fromEnvironment;
  return await askPassword(terminal, "New password of the repository", true);
}
