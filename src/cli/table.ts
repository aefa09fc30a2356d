// Plain aligned columns for a terminal. Widths count code points, which is right for all we print but wide CJK.

export interface Column {
  readonly title: string;
  /** Numbers to the right. Default left. */
  readonly align?: 'left' | 'right';
}

const width = (text: string): number => [...stripStyles(text)].length;

/** Lines of the table; a heading line only when some column has a title. Two spaces between columns. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], indent = '  '): string[] {
  const headed = columns.some((c) => c.title !== '');
  const all = headed ? [columns.map((c) => c.title), ...rows] : [...rows];
  const widths = columns.map((_, i) => Math.max(0, ...all.map((row) => width(row[i] ?? ''))));
  return all.map((row) => {
    const cells = columns.map((column, i) => {
      const cell = row[i] ?? '';
      const pad = ' '.repeat(widths[i]! - width(cell));
      return column.align === 'right' ? pad + cell : cell + pad;
    });
    return (indent + cells.join('  ')).trimEnd();
  });
}

/** A bar of `cells` characters filled to `share` (0 … 1) in eighths. */
export function bar(share: number, cells: number): string {
  const eighths = Math.round(Math.max(0, Math.min(1, share)) * cells * 8);
  const rest = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]!;
  return '█'.repeat(Math.floor(eighths / 8)) + rest;
}

/** Without the sequences that Output.paint writes. */
function stripStyles(text: string): string {
  return text.replace(/\u001b\[\d+m/g, '');
}
