export { METRICS, type MetricDefinition, type MetricName, type Metrics, noMetrics } from "./metrics.ts";
export { startMovementMetrics } from "./movement-metrics.ts";
export { type ServerMetricSources, startServerMetrics } from "./server-metrics.ts";
