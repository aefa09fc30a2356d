// What a container's process may not do or see, whoever starts it: docker's defaults.

/**
 * Docker's default capabilities (moby oci/caps/defaults.go): the bounding set of a workload, so that root in it can do
 * what root in a container can, and no more. Without the rights of root they only count in the user namespace.
 */
export const CAPABILITIES = [
  'chown',
  'dac_override',
  'fsetid',
  'fowner',
  'mknod',
  'net_raw',
  'setgid',
  'setuid',
  'setfcap',
  'setpcap',
  'net_bind_service',
  'sys_chroot',
  'kill',
  'audit_write',
] as const;

/** Below /proc: what tells about the machine is empty. */
export const MASKED_PROC = {
  files: ['interrupts', 'kcore', 'keys', 'latency_stats', 'sched_debug', 'timer_list', 'timer_stats'],
  dirs: ['acpi', 'asound', 'scsi'],
} as const;

/** Below /proc: the machine's switches. */
export const READONLY_PROC = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'] as const;
