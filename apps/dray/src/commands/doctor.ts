import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { examine, type Finding } from "../cluster/doctor.ts";
import { kernelFinding } from "../engine/kernel-finding.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

const MARKS: Readonly<Record<Finding["severity"], string>> = { ok: "ok     ", warning: "warning", error: "ERROR  " };

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

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("--json", "print the findings as one JSON array")
    .action((options: ClusterOptions & { json?: boolean }) =>
      withCluster(options, terminal, async ({ client, namespace }) => {
        const findings = [await kernelFinding(), ...(await examine({ client, namespace, nowMs: terminal.clock.nowMs(), signal: terminal.signal }))];
        terminal.out(options.json === true ? `${JSON.stringify(findings)}\n` : formatFindings(findings));
        if (findings.some(({ severity }) => severity === "error")) terminal.exitCode = EXIT.failed;
      }),
    );
}
