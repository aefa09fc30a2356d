// Waits until a GET is answered with a status below 400.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** Between two tries, and for one of them at most, milliseconds. */
const INTERVAL_MS = 20;
const ANSWER_MS = 5000;

/** Resolves with true at the first good answer, with false when `signal` says stop. Redirects count as good answers. */
export async function waitForHttp(url: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const status = await get(url, signal);
    if (status !== undefined && status < 400) return true;
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
  return false;
}

/** Status of the answer's head; undefined when there was none. */
function get(url: string, signal: AbortSignal): Promise<number | undefined> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    // agent: false, so that no connection is kept open to a workload that is about to be stopped. Certificates of
    // workloads under test are their own.
    const req = request(url, { agent: false, rejectUnauthorized: false, signal, timeout: ANSWER_MS }, (response) => {
      response.destroy();
      resolve(response.statusCode);
    });
    req.on('timeout', () => req.destroy());
    req.on('error', () => resolve(undefined));
    req.on('close', () => resolve(undefined));
    req.end();
  });
}
