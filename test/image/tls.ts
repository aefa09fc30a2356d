// A certificate that signs itself, made by openssl for one test.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** @param name as in subjectAltName: `IP:127.0.0.1` @returns paths of PEM files */
export function makeCertificate(dir: string, name: string): { certificate: string; key: string } {
  const certificate = join(dir, 'certificate.pem');
  const key = join(dir, 'key.pem');
  const what = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '2', '-subj', '/CN=test'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-nodes', ...what, '-addext', `subjectAltName=${name}`, '-keyout', key, '-out', certificate],
    { stdio: 'pipe' },
  );
  return { certificate, key };
}
