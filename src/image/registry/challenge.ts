// WWW-Authenticate (RFC 9110 §11.6.1): what a registry wants to see before it answers. Pure.

export interface Challenge {
  /** Lower case: `basic`, `bearer`, … */
  readonly scheme: string;
  /** Names in lower case; empty for the token68 form. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))/y;

/** All challenges of all headers of that name, in order; what follows a syntax error is left out. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const headers = header === undefined ? [] : typeof header === 'string' ? [header] : header;
  return headers.flatMap(parseOne);
}

function parseOne(text: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(/[\s,]*/y);
    if (at >= text.length) return challenges;
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) return challenges;
    if (take(/\s*=\s*/y)) {
      const value = take(QUOTED)?.[1]?.replace(/\\(.)/g, '$1') ?? take(TOKEN)?.[0];
      const current = challenges.at(-1);
      if (value === undefined || !current) return challenges;
      current.parameters[name] ??= value;
    } else {
      challenges.push({ scheme: name, parameters: {} });
      // `Negotiate abc==`: bytes for the scheme alone, told from a first parameter by what follows.
      take(/\s+/y);
      take(TOKEN68);
    }
  }
}
