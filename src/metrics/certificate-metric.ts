import { Gauge, type Registry } from 'prom-client'

/** Only where HTTPS is served. */
export function registerCertificateMetric(registry: Registry, expiresAt: () => Date): void {
  const gauge: Gauge = new Gauge({
    name: 'pgproof_tls_certificate_expiry_timestamp_seconds',
    help: 'When the TLS certificate expires that the HTTP server uses.',
    registers: [registry],
    collect() {
      gauge.set(expiresAt().getTime() / 1000)
    },
  })
}
