import { hasCode, messageOf } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { examine } from "../doctor/examine.ts";
import type { Finding } from "../doctor/finding.ts";
import { kernelFinding } from "../doctor/kernels.ts";
import { findOrphans, removeOrphan } from "../doctor/orphans.ts";
import { repositoryFindings } from "../doctor/repository.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface DoctorOptions extends ClusterOptions {
  readonly json?: boolean;
  readonly removeOrphans?: boolean;
  readonly repository?: string;
  readonly passwordFile?: string;
}

const MARKS: Readonly<Record<Finding["severity"], string>> = { ok: "ok     ", warning: "warning", error: "ERROR  " };

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("-r, --repository <url>", "also open this repository (DRAY_REPOSITORY)")
    .option("--password-file <file>", "a file holding its password, - for standard input (DRAY_REPOSITORY_PASSWORD, else asked for)")
    .option("--remove-orphans", "first delete what movers left behind: pods, claims, Secrets and snapshot copies made for something that is gone")
    .option("--json", "print the findings as one JSON array")
    .action(async (options: DoctorOptions) => {
      const findings = [await kernelFinding()];
      if ((options.repository ?? terminal.env["DRAY_REPOSITORY"] ?? "") !== "") findings.push(...(await repositoryFindings(options, terminal)));
      findings.push(...(await clusterFindings(options, terminal)));
      terminal.out(options.json === true ? `${JSON.stringify(findings)}\n` : formatFindings(findings));
      if (findings.some(({ severity }) => severity === "error")) terminal.exitCode = EXIT.failed;
    });
}

/** Findings as text: what, why, fix. */
export function formatFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ severity, what, why, fix }) =>
      [`${MARKS[severity]}  ${what}`, ...(why === undefined ? [] : [`         why: ${why}`]), ...(fix === undefined ? [] : [`         fix: ${fix}`])]
        .map((line) => `${line}\n`)
        .join(""),
    )
    .join("");
}

/** Who uses the engine alone has no cluster, and nothing is wrong with that; who named one wants it looked at. */
async function clusterFindings(options: DoctorOptions, terminal: Terminal): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  try {
    await withCluster(options, terminal, async (access) => {
      if (options.removeOrphans === true) findings.push(...(await removeOrphans(access, terminal)));
      findings.push(...(await examine(context(access, terminal))));
    });
  } catch (error) {
    const isNamed = options.kubeconfig !== undefined || options.context !== undefined || options.kubecontext !== undefined || options.removeOrphans === true;
    if (!hasCode(error, "KUBE_CONFIG") || error.context["absent"] !== true || isNamed) throw error;
    findings.push({ severity: "ok", what: "No cluster was looked at", why: messageOf(error), ...(error.hint === undefined ? {} : { fix: error.hint }) });
  }
  return findings;
}

async function removeOrphans(access: ClusterAccess, terminal: Terminal): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const orphan of await findOrphans(context(access, terminal))) {
    const what = `${orphan.type.kind} "${orphan.key.name}", made for "${orphan.madeFor}"`;
    try {
      if (await removeOrphan(access.client, orphan, terminal.clock)) findings.push({ severity: "ok", what: `Deleted ${what}` });
    } catch (error) {
      terminal.signal.throwIfAborted();
      findings.push({ severity: "error", what: `Could not delete ${what}`, why: messageOf(error) });
    }
  }
  return findings;
}

const context = ({ client, namespace }: ClusterAccess, terminal: Terminal) => ({ client, namespace, nowMs: terminal.clock.nowMs(), signal: terminal.signal });
