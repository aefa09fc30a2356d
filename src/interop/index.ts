// Other tools' records and lists, in and out.
export { EXPORT_FORMATS, type Exported, type ExportFormat, exportList } from './export.js';
export { IMPORT_FORMATS, type ImportFormat, importList } from './import.js';
export { type ImportedProfile, profileOfList } from './to-profile.js';
export type { Wanted, WantedList } from './types.js';
export { wantedFiles } from './wanted.js';
