/** RFC 3339 in UTC with six digits of a second, as `metav1.MicroTime` wants it (a Lease's times, an Event's eventTime). */
export function formatMicroTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.(\d{3})Z$/, ".$1000Z");
}
