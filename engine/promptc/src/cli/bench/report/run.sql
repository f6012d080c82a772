-- Which run is this, of which commit?
-- param: run string
SELECT min(started_at) AS started_at, min(git_sha) AS git_sha, min(git_branch) AS git_branch, min(tags['git_tag']) AS git_tag,
       min(commit_time) AS commit_time, bool_or(git_dirty) AS is_dirty, min(tags['base_sha']) AS base_sha, min(pr) AS pr,
       min(env_id) AS env_id
FROM results WHERE run_id = $run
