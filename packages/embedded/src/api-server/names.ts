/** The rules for names, labels and annotations. */
import { type ApiObject, objectAt } from "./json.ts";
import { type FieldError, invalid, required, tooLong } from "./status-error.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SERVICE = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const ANNOTATIONS_MAX_BYTES = 256 * 1024;

export const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
export const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE_RULE =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

export type NameRule = "subdomain" | "label" | "service" | "path";

export const isLabel = (name: string): boolean => name.length <= 63 && LABEL.test(name);
export const isSubdomain = (name: string): boolean => name.length <= 253 && SUBDOMAIN.test(name);

/** What is wrong with a name, or nothing. */
export function nameProblems(name: string, rule: NameRule): string[] {
  const longerThan = (limit: number): string[] => (name.length > limit ? [`must be no more than ${limit} characters`] : []);
  switch (rule) {
    case "label":
      // A good subdomain that is no label can only have dots too many.
      return [...longerThan(63), ...(LABEL.test(name) ? [] : [SUBDOMAIN.test(name) ? "must not contain dots" : LABEL_RULE])];
    case "service":
      return [...longerThan(63), ...(SERVICE.test(name) ? [] : [SERVICE_RULE])];
    case "path":
      return name === "." || name === ".." ? [`may not be '${name}'`] : ["/", "%"].filter((it) => name.includes(it)).map((it) => `may not contain '${it}'`);
    case "subdomain":
      return [...longerThan(253), ...(SUBDOMAIN.test(name) ? [] : [SUBDOMAIN_RULE])];
  }
}

/** What is wrong with a label's or annotation's key. */
export function keyProblems(key: string): string[] {
  const parts = key.split("/");
  const name = parts.at(-1) ?? "";
  if (parts.length > 2)
    return [
      `a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  const problems: string[] = [];
  if (parts.length === 2) {
    const prefix = parts[0] ?? "";
    if (prefix === "") problems.push("prefix part must be non-empty");
    else if (!isSubdomain(prefix)) problems.push(`prefix part ${SUBDOMAIN_RULE}`);
  }
  if (name === "") problems.push("name part must be non-empty");
  else if (name.length > 63) problems.push("name part must be no more than 63 characters");
  if (!QUALIFIED.test(name)) problems.push(QUALIFIED_RULE);
  return problems;
}

export function labelValueProblems(value: string): string[] {
  return [...(value.length > 63 ? ["must be no more than 63 characters"] : []), ...(value === "" || QUALIFIED.test(value) ? [] : [VALUE_RULE])];
}

/** What is wrong with an object's metadata. */
export function validateMetadata(object: ApiObject, rule: NameRule, namespaced: boolean, path = "metadata"): FieldError[] {
  const { name, namespace, labels, annotations, finalizers, ownerReferences } = object.metadata;
  const errors: FieldError[] = [];
  if (name === undefined || name === "") errors.push(required(`${path}.name`, "name or generateName is required"));
  else for (const problem of nameProblems(name, rule)) errors.push(invalid(`${path}.name`, name, problem));
  if (namespaced && namespace !== undefined)
    for (const problem of nameProblems(namespace, "label")) errors.push(invalid(`${path}.namespace`, namespace, problem));
  errors.push(...validateLabels(objectAt(object, "metadata", "labels") === undefined ? {} : (labels ?? {}), `${path}.labels`));
  let annotationBytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    for (const problem of keyProblems(key.toLowerCase())) errors.push(invalid(`${path}.annotations`, key, problem));
    annotationBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (annotationBytes > ANNOTATIONS_MAX_BYTES) errors.push(tooLong(`${path}.annotations`, ANNOTATIONS_MAX_BYTES));
  for (const owner of ownerReferences ?? []) {
    for (const field of ["apiVersion", "kind", "name", "uid"] as const)
      if ((owner[field] ?? "") === "")
        errors.push(
          field === "apiVersion"
            ? invalid(`${path}.ownerReferences.apiVersion`, "", "version must not be empty")
            : invalid(`${path}.ownerReferences.${field}`, "", "must not be empty"),
        );
  }
  for (const finalizer of finalizers ?? []) for (const problem of keyProblems(finalizer)) errors.push(invalid(`${path}.finalizers`, finalizer, problem));
  return errors;
}

const STANDARD_FINALIZERS: ReadonlySet<string> = new Set(["kubernetes", "orphan", "foregroundDeletion"]);

/** Built-in kinds take a finalizer without a domain only when it is one of the system's own. */
export function validateFinalizerDomains(object: ApiObject): FieldError[] {
  return (object.metadata.finalizers ?? []).flatMap((finalizer, index) =>
    finalizer.includes("/") || STANDARD_FINALIZERS.has(finalizer)
      ? []
      : [invalid(`metadata.finalizers[${index}]`, finalizer, "name is neither a standard finalizer name nor is it fully qualified")],
  );
}

export function validateLabels(labels: Readonly<Record<string, string>>, path: string): FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...keyProblems(key).map((problem) => invalid(path, key, problem)),
    ...(typeof value === "string" ? labelValueProblems(value).map((problem) => invalid(path, value, problem)) : []),
  ]);
}
