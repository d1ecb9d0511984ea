/**
 * The text of an AWS shared credentials file: `[profile]` headers and `key = value` lines, `#` and `;` comments. This is what the Secret of a Velero location holds.
 */
import { DrayError } from "@drayage/base";
import type { S3Credentials } from "./s3-options.ts";

/**
 * The keys or the role of one profile. Throws BLOB_BAD_CONFIG when the profile or a key is not there, NOT_SUPPORTED when the profile names a role that is taken on by other means than a token file.
 * No value of the file enters a message.
 */
export function parseAwsCredentials(text: string, profile = "default"): S3Credentials {
  const section = parseProfiles(text).get(profile);
  const refuse = (what: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot read the credentials of profile "${profile}": ${what}`, {
      hint: "A credentials file has a line [profile], then aws_access_key_id = … and aws_secret_access_key = …",
    });
  };
  if (section === undefined) return refuse("the file has no such profile");
  const accessKeyId = section.get("aws_access_key_id");
  const secretAccessKey = section.get("aws_secret_access_key");
  const roleArn = section.get("role_arn");
  if (roleArn !== undefined) {
    const webIdentityTokenFile = section.get("web_identity_token_file");
    if (webIdentityTokenFile === undefined) {
      throw new DrayError("NOT_SUPPORTED", `Cannot read the credentials of profile "${profile}": it names a role without web_identity_token_file`, {
        hint: "Name the file of the pod's token, or give the role to the pod itself and leave the location's credential out.",
      });
    }
    const roleSessionName = section.get("role_session_name");
    return { roleArn, webIdentityTokenFile, ...(roleSessionName === undefined ? {} : { roleSessionName }) };
  }
  if (accessKeyId === undefined) return refuse("aws_access_key_id is missing");
  if (secretAccessKey === undefined) return refuse("aws_secret_access_key is missing");
  const sessionToken = section.get("aws_session_token");
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** Every profile with its settings; keys in lower case, empty values left out. */
function parseProfiles(text: string): Map<string, Map<string, string>> {
  const profiles = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#") || trimmed.startsWith(";")) continue;
    const header = /^\[\s*(?:profile\s+)?([^\]]+?)\s*\]/.exec(trimmed)?.[1];
    if (header !== undefined) {
      current = profiles.get(header) ?? new Map<string, string>();
      profiles.set(header, current);
      continue;
    }
    const equals = trimmed.indexOf("=");
    const value = trimmed.slice(equals + 1).trim();
    if (equals > 0 && value !== "") current?.set(trimmed.slice(0, equals).trim().toLowerCase(), value);
  }
  return profiles;
}
