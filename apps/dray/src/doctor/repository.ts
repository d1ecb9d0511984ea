/** Can the repository be opened that engine commands would use here, and read? */
import { type DrayError, isDrayError, messageOf } from "@drayage/base";
import { type RepositoryOptions, withRepository } from "../engine/repository-access.ts";
import type { Terminal } from "../terminal.ts";
import type { Finding } from "./finding.ts";

/** Asked only where a repository is named: by flag or DRAY_REPOSITORY. */
export async function repositoryFindings(options: RepositoryOptions, terminal: Terminal): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  try {
    await withRepository(options, terminal, { readOnly: true }, async ({ description, snapshots }) => {
      const { snapshots: readable, unreadable } = await snapshots.list({ signal: terminal.signal });
      findings.push({ severity: "ok", what: `Repository ${description} opens: ${readable.length} snapshots` });
      if (unreadable.length > 0)
        findings.push({
          severity: "error",
          what: `${unreadable.length} snapshots of ${description} cannot be read`,
          why: unreadable.map(({ id, error }) => `${id}: ${messageOf(error)}`).join("; "),
          fix: "dray repo verify, then dray repo repair",
        });
    });
  } catch (error) {
    terminal.signal.throwIfAborted();
    const hint = isDrayError(error) ? (error as DrayError).hint : undefined;
    findings.push({ severity: "error", what: "The repository cannot be opened", why: messageOf(error), ...(hint === undefined ? {} : { fix: hint }) });
  }
  return findings;
}
