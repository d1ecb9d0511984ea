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
    .action((options: Options) =>
      withRepository(options, terminal, { readOnly: false }, async (repository) => {
        const fromEnvironment = terminal.env["DRAY_NEW_REPOSITORY_PASSWORD"];
        const password =
          options.newPasswordFile !== undefined
            ? await passwordFromFile(options.newPasswordFile, terminal)
            : fromEnvironment !== undefined && fromEnvironment !== ""
              ? fromEnvironment
              : await askPassword(terminal, "New password of the repository", true);
        await repository.changePassword(password);
        if (options.json === true) terminal.out(formatJson({ type: "summary", repository: repository.description }));
        else terminal.out(`Changed the password of ${repository.description}\n`);
      }),
    );
}
