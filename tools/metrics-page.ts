/** Writes docs/monitoring/metrics.md from what is counted. `tools/docs.ts` calls it. */
import { METRICS, type MetricDefinition } from "@drayage/controllers";

export function metricsPage(): string {
  const rows = Object.entries(METRICS as Readonly<Record<string, MetricDefinition>>).map(
    ([name, { type, labels, help }]) => `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`,
  );
  return `# Metrics

<!-- Written by tools/docs.ts; change packages/controllers/src/metrics/metrics.ts instead. -->

Server and node-agents show these at \`:8085/metrics\` (\`--metrics-address\`), together with those of the process. Names that begin with \`velero_\` and \`podVolume_\` mean what they mean in Velero, so that its dashboards go on working. \`schedule\` is empty for what nobody scheduled.
Counters begin at zero with each process; \`velero_backup_last_successful_timestamp\` is right from the first scrape on, since it is taken from the backups that there are. [\`alerts.yaml\`](alerts.yaml) has a rule for everything that should wake somebody.

| metric | type | labels | meaning |
|---|---|---|---|
${rows.join("\n")}
`;
}
