-- On which machine, and with which build, was it measured?
SELECT * FROM environments WHERE env_id = this_env() LIMIT 1
