//! The table of all failpoints.
//!
//! A line per place: its variant, its name, whether the program can do without what fails there, and what is on the disk
//! when it is reached.

macro_rules! sites {
    ($($variant:ident $name:literal $kind:ident $state:literal,)*) => {
        /// A place where a test makes the program fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Site {
            $(#[doc = $state] $variant,)*
        }

        impl Site {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in `FAILPOINTS`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is on the disk when it is reached.
            #[must_use]
            pub fn state(self) -> &'static str {
                match self { $(Self::$variant => $state,)* }
            }

            /// Whether an error there must become the program's; `false` for what is only a help to speed.
            #[must_use]
            pub fn is_needed(self) -> bool {
                match self { $(Self::$variant => sites!(@ $kind),)* }
            }
        }
    };
    (@ needed) => { true };
    (@ spare) => { false };
}

sites! {
    // Opening a store.
    OpenBeforeLock "open-before-lock" needed "the folder is there and nothing else is made",
    OpenAfterLock "open-after-lock" needed "`LOCK` is held and names no process yet",
    OpenBeforeFormat "open-before-format" needed "`LOCK` names the process; a new store has no `FORMAT`",
    OpenAfterFormat "open-after-format" needed "`FORMAT` is whole; a new store has no folders",
    OpenBeforeTmp "open-before-tmp" needed "the folders are there; `tmp` holds what the last process left",
    OpenAfterTmp "open-after-tmp" needed "`tmp` was removed and is not made again",
    KvBeforeOpen "kv-before-open" needed "the folders are there; the database is as it was left",
    KvAfterOpen "kv-after-open" needed "the database is open; nothing of it was read",
    KvBeforeCloseFlush "kv-before-close-flush" spare "the log holds what the write buffers do",
    // The log and its records.
    LogBeforeCommit "log-before-commit" needed "a group was taken from the queue; nothing is written",
    LogBeforeWrite "log-before-write" needed "the group's batch is made; nothing is written",
    LogAfterWrite "log-after-write" needed "the batch is in the log, synced if its level says so; nobody was told",
    RecordsBeforeCompact "records-before-compact" needed "the log holds what the write buffers do",
    RecordsAfterCompactFlush "records-after-compact-flush" needed "the buffers are in tables that are not merged",
    LogBeforeSync "log-before-sync" needed "writes are in the page cache or in memory alone",
    LogAfterSync "log-after-sync" needed "every write is on the disk; the caller does not know",
    LogBeforeTrim "log-before-trim" needed "the log is synced and holds all its records",
    LogAfterTrim "log-after-trim" needed "the log begins later; the caller does not know",
    // Documents.
    DocumentsBeforeApply "documents-before-apply" needed "the index is as it was, the round was read",
    DocumentsBeforeCommit "documents-before-commit" needed "the index is as it was, the log is synced",
    DocumentsAfterCommit "documents-after-commit" needed "the index stands at the round, the watermark before it",
    DocumentsAfterMark "documents-after-mark" needed "index and watermark stand at the round; the caller does not know",
    DocumentsBeforeRemove "documents-before-remove" needed "an index is there that is to be built anew",
    // The ledger.
    LedgerBeforePut "ledger-before-put" needed "the entries are as they were",
    LedgerAfterPut "ledger-after-put" needed "the entries are there, synced; the caller does not know",
    LedgerBeforeMemo "ledger-before-memo" spare "the memos are as they were",
    LedgerAfterMemo "ledger-after-memo" spare "the memos are there, not synced; the caller does not know",
    LedgerBeforeRemove "ledger-before-remove" needed "the entries are there",
    LedgerAfterRemove "ledger-after-remove" needed "the entries are gone; the caller does not know",
    // The row cache.
    RowsBeforeAdvance "rows-before-advance" needed "the generation is the last build's",
    RowsAfterAdvance "rows-after-advance" needed "the generation on disk is one ahead of that in memory",
    RowsBeforeRefresh "rows-before-refresh" spare "entries carry the generation that wrote them",
    RowsBeforePut "rows-before-put" needed "the rows are not there",
    RowsAfterPut "rows-after-put" needed "rows and their bytes are there; those in memory are not counted yet",
    RowsBeforeEvict "rows-before-evict" needed "the bound is passed; nothing is deleted",
    RowsBeforeEvictWrite "rows-before-evict-write" needed "all entries were looked at; the deletions are not written",
    RowsAfterEvict "rows-after-evict" needed "the entries are gone; the count in memory is the old one",
    // Flow files.
    FlowBeforeCreate "flow-before-create" needed "no part is in `tmp`",
    FlowAfterCreate "flow-after-create" needed "an empty part is in `tmp`",
    FlowBeforeGroup "flow-before-group" needed "the part lacks its next row group",
    FlowBeforeSeal "flow-before-seal" needed "the part holds its rows and a footer without its hash",
    FlowBeforeSync "flow-before-sync" needed "the part is whole in the page cache",
    FlowBeforeRename "flow-before-rename" needed "the part is whole and synced",
    FlowAfterRename "flow-after-rename" needed "the flow has its name, which is not synced",
    FlowAfterSync "flow-after-sync" needed "the flow is there; the caller does not know",
    // Files that replace others.
    AsideBeforeCreate "aside-before-create" needed "the target is as it was",
    AsideAfterCreate "aside-after-create" needed "an empty hidden file stands beside the target",
    AsideBeforeFlush "aside-before-flush" needed "the hidden file lacks its last bytes",
    AsideBeforeSync "aside-before-sync" needed "the hidden file is whole in the page cache",
    AsideBeforeRename "aside-before-rename" needed "the hidden file is whole and synced",
    AsideAfterRename "aside-after-rename" needed "the target is the new one; its name is not synced",
    FolderBeforeSync "folder-before-sync" needed "names of the folder are in the page cache alone",
    FolderAfterSync "folder-after-sync" needed "names of the folder are synced; the caller does not know",
    ExchangeBefore "exchange-before" needed "both names hold what they held",
    ExchangeAfter "exchange-after" needed "the names have changed places, not synced",
    // Outputs.
    JsonlBeforeCreate "jsonl-before-create" needed "the output is as it was",
    JsonlBeforeWrite "jsonl-before-write" needed "a hidden file holds the rows so far",
    JsonlBeforePublish "jsonl-before-publish" needed "a hidden file lacks its last bytes",
    CsvBeforeCreate "csv-before-create" needed "the output is as it was",
    CsvBeforeWrite "csv-before-write" needed "a hidden file holds the rows so far",
    CsvBeforePublish "csv-before-publish" needed "a hidden file lacks its last bytes",
    ParquetBeforeCreate "parquet-before-create" needed "the output is as it was",
    ParquetBeforeWrite "parquet-before-write" needed "a hidden file holds the rows so far",
    ParquetBeforePublish "parquet-before-publish" needed "a hidden file is whole in the page cache",
    PartitionBeforeCreate "partition-before-create" needed "the hidden folder lacks the file of a partition",
    PartitionBeforeWrite "partition-before-write" needed "files of the hidden folder hold the rows so far",
    PartitionBeforeClose "partition-before-close" needed "files of the hidden folder lack their footers",
    FilesBeforeWrite "files-before-write" needed "the hidden folder holds the files so far",
    TreeBeforeStaging "tree-before-staging" needed "there is no hidden folder",
    TreeBeforeFile "tree-before-file" needed "the hidden folder lacks a file",
    TreeBeforeFileSync "tree-before-file-sync" needed "a file of the hidden folder is in the page cache alone",
    TreeBeforeStagedSync "tree-before-staged-sync" needed "a partition of the hidden folder is in the page cache alone",
    TreeBeforeFirstManifest "tree-before-first-manifest" needed "the hidden folder is whole; the manifest is the last run's",
    TreeBeforeRename "tree-before-rename" needed "the manifest names the files of both runs; some have their names",
    TreeBeforeRemove "tree-before-remove" needed "all new files have their names; old ones are there",
    TreeBeforeFolderSync "tree-before-folder-sync" needed "all files are as they will be, their names not synced",
    TreeBeforeLastManifest "tree-before-last-manifest" needed "all files are as they will be; the manifest names those of both runs",
    LanceSinkBeforeStaging "lance-sink-before-staging" needed "there is no hidden dataset",
    LanceSinkAfterStaging "lance-sink-after-staging" needed "the hidden dataset holds the rows, not synced",
    LanceSinkBeforeFirstSync "lance-sink-before-first-sync" needed "there is no output; the hidden dataset is not synced",
    LanceSinkBeforeFirstRename "lance-sink-before-first-rename" needed "there is no output; the hidden dataset is synced",
    LanceSinkAfterFirstRename "lance-sink-after-first-rename" needed "the output has its name, which is not synced",
    LanceSinkBeforeTwin "lance-sink-before-twin" needed "the output holds other rows; there is no twin",
    LanceSinkAfterTwin "lance-sink-after-twin" needed "the twin is the output under another name",
    LanceSinkAfterVersion "lance-sink-after-version" needed "the twin has its next version, not synced",
    LanceSinkBeforeExchange "lance-sink-before-exchange" needed "the twin is synced",
    LanceSinkAfterExchange "lance-sink-after-exchange" needed "output and twin have changed places, not synced",
    OutputBeforeMemo "output-before-memo" needed "the output is the new one; the ledger tells of the old one",
    OutputAfterMemo "output-after-memo" needed "the ledger tells of the new output",
    // Vector indexes.
    VectorsBeforeRemove "vectors-before-remove" needed "files of another index, or of a half one, are there",
    VectorsBeforeBreakSeal "vectors-before-break-seal" needed "the index is sealed and as it was",
    VectorsAfterBreakSeal "vectors-after-break-seal" needed "the index has no seal and is as it was",
    VectorsBeforeRewrite "vectors-before-rewrite" needed "no version holds the new rows",
    VectorsAfterRewrite "vectors-after-rewrite" needed "a version holds the new rows, without state, not synced",
    VectorsBeforeDelete "vectors-before-delete" needed "the rows to drop are there",
    VectorsBeforeAppend "vectors-before-append" needed "the rows to drop are gone, those to add are not there",
    VectorsAfterChange "vectors-after-change" needed "a version holds the new rows, without state, not synced",
    VectorsBeforeTrain "vectors-before-train" needed "the rows are there, the lists or codes are not",
    VectorsAfterTrain "vectors-after-train" needed "rows and trained index are there, without state",
    VectorsBeforeConfig "vectors-before-config" needed "everything but the state is there",
    VectorsAfterConfig "vectors-after-config" needed "the last version has its state, not synced",
    VectorsAfterSync "vectors-after-sync" needed "the new files are synced; old versions are there, no seal",
    VectorsAfterCleanup "vectors-after-cleanup" needed "one version is there, no seal",
    VectorsAfterSeal "vectors-after-seal" needed "the index is whole; the caller does not know",
    // Text indexes.
    TextBeforeCreate "text-before-create" needed "files of another index are there, or none",
    TextAfterCreateFolder "text-after-create-folder" needed "an empty folder",
    TextBeforeWriter "text-before-writer" needed "the index is as it was",
    TextBeforeAdd "text-before-add" needed "documents are in the writer's memory, or in segments of no commit",
    TextBeforePrepare "text-before-prepare" needed "all documents are with the writer",
    TextBeforeCommit "text-before-commit" needed "segments are there that no commit names",
    TextAfterCommit "text-after-commit" needed "the commit names the new segments; merges may run",
    TextAfterMerge "text-after-merge" needed "the index is whole; the caller does not know",
    // Builds.
    BuildBeforeRecord "build-before-record" needed "all outputs are there; the record is the last build's",
    BuildAfterRecord "build-after-record" needed "the record is this build's; what only the last one used is there",
    BuildBeforeForget "build-before-forget" needed "the ledger holds entries that no build uses",
    BuildBeforeCollect "build-before-collect" needed "files are there that no build stands on",
    CollectBeforeRemove "collect-before-remove" needed "some of these files are gone",
    CollectBeforeSync "collect-before-sync" needed "all of these files are gone, their names not synced",
    IndexBeforeRemove "index-before-remove" needed "an index is there that cannot be brought up to date",
    // The benchmark history.
    HistoryBeforeFolder "history-before-folder" needed "the month has no folder",
    HistoryBeforeFolderSync "history-before-folder-sync" needed "the month has a folder whose name is not synced",
    HistoryBeforeSamples "history-before-samples" needed "nothing of the run is there",
    HistoryBeforeEnv "history-before-env" needed "samples are there; readers skip them",
    HistoryBeforeScrapes "history-before-scrapes" needed "samples and environment are there; readers skip them",
    HistoryBeforeResults "history-before-results" needed "everything but the results is there; readers skip it",
    HistoryAfterResults "history-after-results" needed "the run is there; the caller does not know",
    HistoryBeforeVerdicts "history-before-verdicts" needed "the verdicts are not there",
    HistoryAfterVerdicts "history-after-verdicts" needed "the verdicts are there; the caller does not know",
    HistoryBeforeCompact "history-before-compact" needed "a month has its single files",
    HistoryBeforeCover "history-before-cover" needed "a compacted file covers single ones, which are there",
    HistoryBeforeRemove "history-before-remove" needed "some of the covered files are gone",
    HistoryBeforeRemoveSync "history-before-remove-sync" needed "all of them are gone, their names not synced",
}
