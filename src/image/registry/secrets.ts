// Keeps credentials out of messages: whatever a server or helper program says is cleaned of those that were used.

export interface Secrets {
  /** Remembers a password, token or header value. Very short ones are not looked for: they would match by chance. */
  add(secret: string): void;
  redact(text: string): string;
}

const MIN_LENGTH = 4;

export function makeSecrets(): Secrets {
  const known = new Set<string>();
  return {
    add(secret) {
      for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
        if (form.length >= MIN_LENGTH) known.add(form);
    },
    redact(text) {
      let clean = text;
      // The longest first, so that no part of one is left beside a shorter one that it holds.
      for (const secret of [...known].sort((a, b) => b.length - a.length)) clean = clean.replaceAll(secret, '***');
      return clean;
    },
  };
}

/** A URL for messages: without user, password, query and fragment, any of which may hold a credential. */
export function showUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
