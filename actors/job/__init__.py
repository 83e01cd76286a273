"""From a pool's base job template and job variables to what is started for one run. Pure.

What happens to a job variable, say ``timeout_seconds``:

1. ``template.populate`` takes its value from the flow run, else the deployment, else the pool's
   default (``variables``), and puts it where the template has ``{{ timeout_seconds }}``
   (``placeholders``).
2. ``template.references`` lists the blocks and variables that the values name. The caller fetches
   them, and ``template.resolve`` puts them in.
3. ``job.build_job`` checks each value against its field of ``ProcessJobConfiguration``
   (``configuration``) and makes a ``Job`` of them: argv, environment, working directory, limits.
4. ``environment.run_environment`` puts the job's ``env`` over the worker's environment.

To add a job variable, add a field to ``ProcessJobConfiguration``: the default template, the form
on Prefect's pages and the check of values follow from it. Then hand its value on in ``build_job``,
or in ``ProcessJobConfiguration.limits``, and add a row to the README's table.
"""
