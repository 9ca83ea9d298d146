"""Room measure: views over published resources, measures over the views, and what reports say."""
